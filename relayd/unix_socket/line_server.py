"""Serves a Unix socket on which each line is asked and answered, in order.

The producers' socket and the operator's control socket are both one. Its bounds are for all
connections together, and no user can use them up for others (`core.peers`):

- So many may be connected. One that is idle for long, or whose line does not end in time, is let go.
- Parts of lines, and answers that a peer does not read, have one budget of bytes.
- A line that grows beyond 64 KiB (less where a user has many connections) waits until few others do, before more of it is read.
- Lines are answered before more are read, so a peer that never reads is slowed, then let go.

- A defect ends the connection that met it, and no other.

Logs `connection_limit_reached` and `connection_closed` (why, and whose), `accept_failed`, `connection_internal_error`.
"""

import errno
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog
import trio

from relayd.containment import is_defect
from relayd.core.framing import LineReader, TooLong
from relayd.core.peers import Doing, Peer, Peers
from relayd.permissions import peer_uid
from relayd.unix_socket.shares import Shares

_log = structlog.get_logger()

Answers = Sequence[dict[str, object]]
AnswerLines = Callable[[Sequence[bytes | TooLong], int], Awaitable[Answers]]
"""Answers lines that came together from a user (its uid), one answer for each, in order."""

HELD_BYTES: Final = 12 * 1024 * 1024
"""What all connections together may hold in parts of lines, and in answers that are not read."""

HELD_BY_ONE_USER: Final = 8 * 1024 * 1024

_LARGE_LINES: Final = 3
_LARGE_LINES_OF_ONE_USER: Final = 2
"""So many lines may grow beyond what is read at once, each up to its limit."""

LINE_S: Final = 30.0
"""How long a line may take from its first byte, while relayd reads."""

LARGE_LINE_S: Final = 5.0
"""How long the rest of a line may take once it is large: others wait meanwhile."""

GIVES_WAY_S: Final = 60.0
"""How long a connection may be idle without making room for another one of its user."""

_READ_BYTES: Final = 65_536
_LEAST_READ_BYTES: Final = 4_096
_LEAST_LARGE_BYTES: Final = 16_384
_LINES_AT_ONCE = 512
_SEND_TIMEOUT_S = 30.0

_NO_CAPACITY = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
_RETRY_S = 0.2
_TELL_S = 60.0

_FULL = "too many connections; try again"
_GIVE_WAY = "this connection was idle, and its place is needed; connect again"
_NO_MEMORY = "too many unfinished lines, or answers that are not read; try again"
_UNFINISHED = "the line was not finished in time"


class LineServer:
    """Accepts connections on one listener, and answers lines until cancelled."""

    def __init__(
        self,
        answer: AnswerLines,
        *,
        name: str,
        line_bytes: int,
        connections: int = 500,
        idle_s: float = 600.0,
        gives_way_s: float = GIVES_WAY_S,
    ) -> None:
        self._answer = answer
        self._name = name
        self._line_bytes = line_bytes
        self._idle_s = idle_s
        self._peers = Peers(
            connections, total=HELD_BYTES, share=HELD_BY_ONE_USER, gives_way_s=gives_way_s
        )
        self._scopes: dict[Peer, trio.CancelScope] = {}
        self._reasons: dict[Peer, str] = {}
        self._large = Shares(_LARGE_LINES, _LARGE_LINES_OF_ONE_USER)

    async def serve(self, listener: trio.SocketListener) -> None:
        """Serve until cancelled; what a connection's peer does ends no more than its connection."""
        async with listener, trio.open_nursery() as connections:
            told_at = -math.inf
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in _NO_CAPACITY:
                        raise
                    # Who wants to connect waits in the listener's backlog meanwhile.
                    if trio.current_time() - told_at >= _TELL_S:
                        told_at = trio.current_time()
                        _log.error("accept_failed", source=self._name, detail=_words(error))
                    await trio.sleep(_RETRY_S)
                else:
                    connections.start_soon(self._contained, stream)

    async def _contained(self, stream: trio.SocketStream) -> None:
        try:
            await self._connection(stream)
        except Exception as error:
            if not is_defect(error):
                raise
            _log.exception("connection_internal_error", source=self._name)

    async def _connection(self, stream: trio.SocketStream) -> None:
        async with stream:
            now = trio.current_time()
            peer = Peer(peer_uid(stream.socket.getsockopt), now)
            admitted, gives_way = self._peers.admit(peer, now)
            if not admitted:
                _log.warning(
                    "connection_limit_reached",
                    source=self._name,
                    connections=self._peers.count,
                    uid=peer.uid,
                )
                await _refuse(stream, _FULL)
                return
            if gives_way is not None:
                self._let_go(gives_way, _GIVE_WAY)
            with trio.CancelScope() as scope:
                self._scopes[peer] = scope
                try:
                    await self._converse(peer, stream)
                except trio.BrokenResourceError:
                    # The peer left before its answer; what was accepted stays accepted.
                    pass
                finally:
                    self._peers.remove(peer)
                    del self._scopes[peer]
                    reason = self._reasons.pop(peer, None)
            if reason is not None:
                _log.warning("connection_closed", source=self._name, uid=peer.uid, detail=reason)
                if peer.doing is not Doing.SENDING:
                    await _refuse(stream, reason)

    async def _converse(self, peer: Peer, stream: trio.SocketStream) -> None:
        lines = LineReader(self._line_bytes)
        begun: float | None = None
        while True:
            now = trio.current_time()
            begun = (now if begun is None else begun) if lines.partial else None
            data = await self._received(peer, stream, begun, now)
            if not data or peer.gone:
                # A part of a line that was never ended is dropped: it may have been cut anywhere.
                return
            lines.push(data)
            if not self._hold(peer, lines.held):
                return
            answered = await self._answered(peer, stream, lines)
            peer.doing = Doing.READING
            if not self._hold(peer, lines.held):
                return
            if lines.held > max(self._read_bytes(peer), _LEAST_LARGE_BYTES):
                answered = await self._large_line(peer, stream, lines)
                peer.doing = Doing.READING
                if not self._hold(peer, lines.held):
                    return
            if answered:
                begun = None

    async def _received(
        self, peer: Peer, stream: trio.SocketStream, begun: float | None, now: float
    ) -> bytes:
        """Return what a connection sends, and nothing when it has to end."""
        peer.since = now if begun is None else begun
        peer.doing = Doing.READING
        with trio.CancelScope() as waiting:
            waiting.deadline = now + self._idle_s if begun is None else begun + LINE_S
            return bytes(await stream.receive_some(self._read_bytes(peer)))
        if waiting.cancelled_caught and begun is not None:
            self._reasons[peer] = _UNFINISHED
        return b""

    async def _answered(self, peer: Peer, stream: trio.SocketStream, lines: LineReader) -> bool:
        """Answer the lines that are complete, and return whether there were any."""
        found = False
        while batch := lines.take(_LINES_AT_ONCE):
            found = True
            peer.doing = Doing.ANSWERING
            answers = encoded(await self._answer(batch, peer.uid))
            peer.doing = Doing.SENDING
            self._hold(peer, lines.held + len(answers))
            with trio.move_on_after(_SEND_TIMEOUT_S) as sending:
                await stream.send_all(answers)
            if sending.cancelled_caught:
                raise trio.BrokenResourceError
        return found

    async def _large_line(self, peer: Peer, stream: trio.SocketStream, lines: LineReader) -> bool:
        """Read the rest of a line that grew large, and return whether it was answered.

        It is not when it is too long: from then on nothing of it is held. Once the line has its
        place, its bytes do not count in the budget. Raises BrokenResourceError when the connection
        has to end.
        """
        async with self._large.taken(peer.uid, 1):
            peer.doing = Doing.ANSWERING
            self._peers.hold(peer, 0)
            with trio.move_on_after(LARGE_LINE_S) as waiting:
                while lines.held:
                    data = await stream.receive_some(_READ_BYTES)
                    if not data:
                        raise trio.BrokenResourceError
                    lines.push(data)
                    if b"\n" in data:
                        break
                    lines.take(0)
            if waiting.cancelled_caught:
                self._reasons[peer] = _UNFINISHED
                raise trio.BrokenResourceError
            return await self._answered(peer, stream, lines)

    def _read_bytes(self, peer: Peer) -> int:
        """Return how much to read at once: such that all of a user's connections have room."""
        return self._peers.room(peer.uid, _LEAST_READ_BYTES, _READ_BYTES)

    def _hold(self, peer: Peer, size: int) -> bool:
        """Note what a connection holds; False: it has to go."""
        for each in self._peers.hold(peer, size):
            self._let_go(each, _NO_MEMORY)
        return not peer.gone

    def _let_go(self, peer: Peer, reason: str) -> None:
        """Have a connection that was removed told and closed."""
        self._reasons[peer] = reason
        self._scopes[peer].cancel()


async def _refuse(stream: trio.SocketStream, why: str) -> None:
    refusal = {"ok": False, "code": "busy", "error": why}
    with suppress(trio.BrokenResourceError), trio.move_on_after(1.0):
        await stream.send_all(encoded([refusal]))


def _words(error: OSError) -> str:
    """Say what is lacking, and what to do."""
    if error.errno == errno.EMFILE:
        return (
            "relayd has no file descriptor left for a connection: raise its limit (LimitNOFILE= of"
            " its unit, ulimit -n), or have producers close theirs"
        )
    return f"no connection can be taken: {error.strerror}"


def encoded(answers: Answers) -> bytes:
    """Return answers as lines of JSON."""
    lines = (json.dumps(answer, ensure_ascii=False, separators=(",", ":")) for answer in answers)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
