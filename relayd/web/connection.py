"""One connection of the web process: uvicorn's HTTP, with the deadlines that it lacks.

uvicorn closes what is idle after an answer. It has no limit for a slow head or body, for a client
that does not read, or for the number of connections. One task looks at all connections each second.
What uvicorn logs of clients' mistakes is dropped: see `defects`.
"""

import asyncio
import socket
import struct
from collections.abc import Iterable
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol, RequestResponseCycle

from relayd.core.connection_limits import CONNECTIONS, Phase, Place, has_expired, makes_room
from relayd.core.same_site import limited_as

LOOK_S: Final = 1.0

_RESET: Final = struct.pack("ii", 1, 0)  # socket(7): linger, for no time


class Connection(H11Protocol):
    """A client's connection. `phase` and `since`, by the loop's clock, say what it is at."""

    phase = Phase.HEAD
    since = 0.0
    limited_as = ""
    """Whose connection it is, when there are too many: a client's address, or that of its proxy."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        """Take a connection in; where there are too many, one makes room."""
        super().connection_made(transport)
        self.since = self.loop.time()
        self.limited_as = "unix" if self.client is None else limited_as(self.client[0])
        if len(self.connections) > CONNECTIONS:
            others = [each for each in open_connections(self.connections) if each is not self]
            places = [Place(each.limited_as, each.phase, each.since) for each in others]
            index = makes_room(places, self.limited_as)
            (self if index is None else others[index]).cut_off()

    def data_received(self, data: bytes) -> None:
        """Take bytes in. A head that comes byte by byte stays in its phase, whatever it sends."""
        super().data_received(data)
        self.look()

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP, where no answer was begun; it is not logged, since anybody can send it."""
        if self.conn.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            self.cut_off()
            return
        super().send_400_response(msg)
        cycle: RequestResponseCycle | None = self.cycle
        if cycle is not None and not cycle.response_complete:
            # Its body is not HTTP any more. That request has its answer, and its handler sends no other.
            cycle.disconnected = True
            cycle.message_event.set()

    def on_response_complete(self) -> None:
        """Begin to wait for the next request."""
        self._enter(Phase.HEAD)
        super().on_response_complete()
        self.look()

    def look(self) -> None:
        """Note what the connection is at."""
        if self.transport.get_write_buffer_size():
            phase = Phase.SENDING
        elif self.conn.their_state is h11.SEND_BODY:
            phase = Phase.BODY
        else:
            phase = Phase.HEAD if self.conn.our_state is h11.IDLE else Phase.ANSWER
        if phase is not self.phase:
            self._enter(phase)

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = self.loop.time()

    def cut_off(self) -> None:
        """Close the connection at once, with all that the client has not taken.

        uvicorn's own `close` waits for the client, and so does the kernel, for minutes, unless it is
        told to reset the connection.
        """
        raw = self.transport.get_extra_info("socket")
        if raw is not None:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
        self.transport.abort()

    def has_expired(self) -> bool:
        """Return whether the phase that it is in has taken too long."""
        return has_expired(self.phase, self.loop.time() - self.since)


def open_connections(connections: Iterable[object]) -> list[Connection]:
    """Return uvicorn's set of connections as what they are."""
    return [each for each in connections if isinstance(each, Connection)]


async def close_expired(connections: Iterable[object]) -> None:
    """Close each connection whose phase has taken too long, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        for each in open_connections(connections):
            each.look()
            if each.has_expired():
                each.cut_off()
