"""The reader's end of its channel to the daemon."""

import select
import socket
from collections.abc import Iterator
from typing import Any

from relayd.spool import frames
from relayd.spool.frames import Kind


class ClosedError(Exception):
    """The daemon closed the socket: it wants this reader no more."""


class DaemonChannel:
    """Sends the daemon frames, and waits for its frames, or for another descriptor."""

    def __init__(self, channel: socket.socket) -> None:
        self._channel = channel
        self._received = bytearray()
        self._also: int | None = None
        self._poll = select.poll()
        self._poll.register(channel, select.POLLIN)

    def also(self, descriptor: int | None) -> None:
        """Wait for this descriptor too, in place of the one before."""
        if self._also is not None:
            self._poll.unregister(self._also)
        if descriptor is not None:
            self._poll.register(descriptor, select.POLLIN)
        self._also = descriptor

    def send(self, raw: bytes) -> None:
        """Send a frame, and wait as long as the daemon takes. Raises `ClosedError`."""
        try:
            self._channel.sendall(raw)
        except OSError:
            raise ClosedError from None

    def receive(self, timeout_s: float) -> list[tuple[Kind, int, Any]]:
        """Return what came, after waiting for something. Raises `ClosedError`."""
        # In whole milliseconds, upwards: poll(2) would come back at once again and again.
        ready = self._poll.poll(0 if timeout_s <= 0 else max(1, round(timeout_s * 1000)))
        if any(descriptor == self._channel.fileno() for descriptor, _ in ready):
            try:
                raw = self._channel.recv(64 * 1024)
            except OSError:
                raise ClosedError from None
            if not raw:
                raise ClosedError
            self._received += raw
        return list(self._whole_frames())

    def first(self) -> Any:  # noqa: ANN401 - JSON, from the daemon
        """Wait for a frame, and return its text. Raises `ClosedError`."""
        while True:
            for _, _, text in self.receive(60.0):
                return text

    def _whole_frames(self) -> Iterator[tuple[Kind, int, Any]]:
        size = frames.HEAD.size
        while len(self._received) >= size:
            kind, number, text_bytes, _ = frames.HEAD.unpack_from(self._received)
            end = size + text_bytes
            if len(self._received) < end:
                return
            text = frames.text_of(bytes(self._received[size:end]))
            del self._received[:end]
            yield Kind(kind), number, text
