"""Lines out of a stream of bytes: the framing of NDJSON, whatever pieces the bytes arrive in."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TooLong:
    """Stands for a line longer than the limit; its bytes were dropped as they came."""


class LineReader:
    """Splits what is fed to it at each newline, and holds at most `limit` bytes of a line."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._part = bytearray()
        self._skipping = False

    def feed(self, data: bytes) -> list[bytes | TooLong]:
        """Return the lines that `data` completes, in order, without their line ends."""
        lines: list[bytes | TooLong] = []
        *complete, rest = data.split(b"\n")
        for piece in complete:
            if self._skipping or len(self._part) + len(piece) > self._limit:
                lines.append(TooLong())
            else:
                line = bytes(self._part) + piece
                lines.append(line.removesuffix(b"\r"))
            self._part.clear()
            self._skipping = False
        if self._skipping or len(self._part) + len(rest) > self._limit:
            self._part.clear()
            self._skipping = True
        else:
            self._part += rest
        return lines
