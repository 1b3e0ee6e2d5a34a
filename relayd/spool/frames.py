"""The frames that a reader and the daemon exchange: their form, and the bounds of each kind.

A frame has a head (its kind, a number, the length of its text and of its bytes), then JSON text,
then bytes. The daemon trusts no frame: it checks all that a frame says, and raises `BadFrameError`
for what a reader of relayd's own would not have sent. What frames hold is in `event_frames`,
`rejected_frames` and `text_frames`.
"""

import json
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from relayd.core.event import MAX_BODY_BYTES

HEAD: Final = struct.Struct("!BIII")
TEXT_BYTES: Final = 512 * 1024
"""The longest text of a frame. Hostile JSON takes 30 times its size while it is parsed."""
DIGEST_BYTES: Final = 32
EVENTS_BYTES: Final = MAX_BODY_BYTES + DIGEST_BYTES
"""The most bytes that the events of one frame have together."""
ROWS_BYTES: Final = 17 * 1024 * 1024
"""The most bytes of one frame's rejected rows; a row has up to 16 MiB."""
NAME: Final = 500
"""The most characters of a field's name, or of why a reader is not confined."""
REASON: Final = 2000
"""The most characters of a reason."""


class Kind(IntEnum):
    """What a frame is."""

    EVENTS = 1
    """Rows that are events. Its number is answered once they are durable."""
    REJECTED = 2
    """Rows that cannot be events, as found. Its number is answered once they are kept."""
    STATE = 3
    """How the spool is. Sent when that changes, and at least every few seconds."""
    DEFECT = 4
    """An exception that nobody expected; the reader ends."""
    SETTINGS = 16
    """From the daemon, first of all: what to read, and how."""
    PATHS = 17
    """From the daemon: the paths at which conditions look. Its number is their generation."""
    DONE = 18
    """From the daemon: the frame of this number is durable, except for what was refused."""


_MOST_BYTES: Final = {Kind.EVENTS: EVENTS_BYTES, Kind.REJECTED: ROWS_BYTES}


class BadFrameError(Exception):
    """A frame that no reader of ours sends; says what is wrong with it, without quoting it."""


@dataclass(frozen=True, slots=True)
class Head:
    """A frame's beginning, checked: what will follow, in bytes."""

    kind: Kind
    number: int
    text_bytes: int
    blob_bytes: int

    @property
    def size(self) -> int:
        """How many bytes follow."""
        return self.text_bytes + self.blob_bytes


def frame(kind: Kind, number: int, text: object, blob: bytes = b"") -> bytes:
    """Return a frame."""
    return framed(kind, number, json.dumps(text, separators=(",", ":")), blob)


def framed(kind: Kind, number: int, text: str, blob: bytes) -> bytes:
    """Return a frame whose text is JSON already."""
    # A value may hold half of a surrogate pair, which JSON's decoder lets through again.
    raw = text.encode("utf-8", "surrogatepass")
    return HEAD.pack(kind, number, len(raw), len(blob)) + raw + blob


def head_of(raw: bytes | bytearray, allowed: Iterable[Kind]) -> Head:
    """Return a frame's head. Raises `BadFrameError`."""
    number: int
    kind, number, text_bytes, blob_bytes = HEAD.unpack(raw)
    if kind not in allowed:
        raise BadFrameError(f"a frame of kind {kind}")
    if text_bytes > TEXT_BYTES or blob_bytes > _MOST_BYTES.get(kind, 0):
        raise BadFrameError(f"a frame of {text_bytes} and {blob_bytes} bytes")
    return Head(Kind(kind), number, text_bytes, blob_bytes)


def text_of(raw: bytes) -> Any:  # noqa: ANN401 - JSON, which each caller checks
    """Return a frame's text as what it says. Raises `BadFrameError`."""
    try:
        return json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise BadFrameError(f"a frame that is not JSON ({type(error).__name__})") from None


def checked_text(value: object, most: int) -> str:
    """Return a text of at most so many characters, as one line. Raises `BadFrameError`."""
    if not isinstance(value, str) or len(value) > most:
        raise BadFrameError("a text that is not one")
    return printable(value)


def printable(text: str) -> str:
    """Return text that a log, a terminal and a database take, as one line."""
    return text if text.isprintable() else "".join(c if c.isprintable() else "?" for c in text)


def is_int64(value: object) -> bool:
    """Return whether a value is an integer that SQLite could hold."""
    return type(value) is int and -(2**63) <= value < 2**63


def cut(text: str, most: int) -> str:
    """Return a text, shortened where it has more than so many characters."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
