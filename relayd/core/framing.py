"""Lines out of a stream of bytes: the framing of NDJSON, whatever pieces the bytes arrive in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TooLong:
    """Stands for a line longer than the limit; its bytes were dropped as they came."""


class LineReader:
    """Splits what is fed to it at each newline, and holds at most `limit` bytes of a part of a line.

    Lines are taken in batches: 64 KiB may hold 65,536 empty ones, and each costs memory and time.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._data = bytearray()
        self._searched = 0
        self._skipping = False

    @property
    def held(self) -> int:
        """Bytes held: of complete lines not taken yet, and of a part of a line."""
        return len(self._data)

    @property
    def partial(self) -> bool:
        """Whether a line has begun. Only meaningful once `take` has returned nothing."""
        return self._skipping or bool(self._data)

    def push(self, data: bytes) -> None:
        """Add what arrived."""
        self._data += data

    def take(self, most: int) -> list[bytes | TooLong]:
        """Return the next complete lines, at most `most`, in order, without their line ends.

        A part of a line that is longer than the limit is dropped.
        """
        lines: list[bytes | TooLong] = []
        data = self._data
        start, end = 0, data.find(b"\n", self._searched)
        while end >= 0 and len(lines) < most:
            if self._skipping or end - start > self._limit:
                lines.append(TooLong())
                self._skipping = False
            else:
                lines.append(bytes(data[start:end]).removesuffix(b"\r"))
            start = end + 1
            end = data.find(b"\n", start)
        del data[:start]
        self._searched = 0
        if end < 0:
            if self._skipping or len(data) > self._limit:
                self._data = bytearray()
                self._skipping = True
            self._searched = len(self._data)
        return lines

    def feed(self, data: bytes) -> list[bytes | TooLong]:
        """Return the lines that `data` completes, in order, without their line ends."""
        self.push(data)
        return self.take(len(data) + 1)
