"""What memory producers' lines take until their events are durable, and lines that take long to read."""

from collections.abc import Iterator, Sequence
from typing import Final

from relayd.core.framing import TooLong
from relayd.core.js_json import SURROGATE_ESCAPE

_LEAST_BYTES: Final = 8 * 1024
"""What a short line counts. It takes less, but this also bounds how many are under way, to 4,096 of
a user and 5,120 in all: what they cost the loop after a commit, and how long a commit takes."""

_BATCH_BYTES: Final = 4 * 1024 * 1024
_SHORT: Final = 1_024
_LONG: Final = 16_384
_MANY_VALUES: Final = 400
_NARROW: Final = bytes(range(0xF0))
"""Every byte of UTF-8 but those that begin a character beyond U+FFFF."""


def batches(lines: Sequence[bytes | TooLong]) -> Iterator[tuple[list[bytes | TooLong], int]]:
    """Divide lines into batches, and say what memory each one takes."""
    batch: list[bytes | TooLong] = []
    memory = 0
    for line in lines:
        needed = _memory(line)
        if batch and memory + needed > _BATCH_BYTES:
            yield batch, memory
            batch, memory = [], 0
        batch.append(line)
        memory += needed
    if batch:
        yield batch, memory


def _memory(line: bytes | TooLong) -> int:
    """Estimate what a line takes from now until its event is durable.

    Measured: an event about 1.5 kB, an object in it 240 bytes, a list 90, any other value 60, a
    number that overflows 120. A line that is read in slices is at its largest as four texts at once,
    beside its own bytes and the body's; other lines are that one after the other, and then one text.
    """
    size = len(line) if isinstance(line, bytes) else 0
    if size <= _SHORT:
        return _LEAST_BYTES
    assert isinstance(line, bytes)
    number = 120 if b"e" in line or b"E" in line else 60
    values = 240 * line.count(b"{") + 90 * line.count(b"[") + number * line.count(b",")
    texts = 2 + 4 * _width(line) if size > _LONG else 3 + _width(line)
    return max(_LEAST_BYTES, 1_500 + texts * size + values)


def _width(line: bytes) -> int:
    """Return how many bytes Python may take for each character, which the widest one decides."""
    escapes = b"\\u" in line
    if line.isascii() and not escapes:
        return 1
    if line.translate(None, _NARROW) or (escapes and SURROGATE_ESCAPE.search(line)):
        return 4
    return 2


def takes_long(line: bytes) -> bool:
    """Tell whether reading a line may take more than about a millisecond of Python."""
    size = len(line)
    if size <= _SHORT:
        return False
    return size > _LONG or line.count(b",") + line.count(b"{") + line.count(b"[") > _MANY_VALUES
