"""Which inputs and deliveries relayd has died at too often to be tried again: quarantined.

What relayd was at when it died is known by a number, its key. A delivery's is its own number, which
is positive; an input's, before it is an event with a name, is made of its bytes and is negative.
"""

import zlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

from relayd.core.event import Event, Rejection, SpoolRow

NOTHING: Final = 0
"""The key of nothing: it waits."""

DEATHS: Final = 3
"""So often relayd may die at the same thing. Once may be chance: the machine ran out of memory, or
somebody killed the process. Three times at one out of thousands is not."""

FREE_DEATHS: Final = 3 * DEATHS
"""So often a source's reader may die within `DEATHS_SPAN_S` at whatever rows, and is started again
at once: three rows are found by then. A spool that has more of them costs a process each time."""

DEATHS_SPAN_S: Final = 3600.0
LONGEST_READER_PAUSE_S: Final = 60.0

POISON: Final = Rejection(
    "quarantined",
    f"it crashed relayd {DEATHS} times while it was read; after a clean restart it is read again",
)

DELIVERY_DETAIL: Final = (
    f"quarantined: it crashed relayd {DEATHS} times; after a clean restart a replay tries it again"
)


def poisonous(deaths: Iterable[int]) -> frozenset[int]:
    """Return what is not to be tried again, of the keys of what relayd died at."""
    return frozenset(key for key, count in Counter(deaths).items() if count >= DEATHS)


def remember(deaths: Sequence[int], key: int, room: int) -> list[int]:
    """Return the keys of what relayd died at, the last one first, with one more, at most `room`.

    What does not fit is the oldest input: a spool whose rows kill its reader again and again does not
    have relayd forget the delivery that it died at itself.
    """
    kept = [key, *deaths]
    while len(kept) > room:
        inputs = (place for place in range(len(kept) - 1, 0, -1) if kept[place] < NOTHING)
        del kept[next(inputs, len(kept) - 1)]
    return kept


def recent_deaths(deaths: Iterable[float], now: float) -> list[float]:
    """Return those of a reader's deaths that count still. All are moments in seconds."""
    return [moment for moment in deaths if now - moment < DEATHS_SPAN_S]


def reader_pause_s(recent: int) -> float:
    """Return how long to wait before a reader is started again that died so often lately.

    This is for all of one source together: each of its rows has its own three deaths.
    """
    beyond = recent - FREE_DEATHS
    return 0.0 if beyond <= 0 else min(2.0 ** min(beyond, 16), LONGEST_READER_PAUSE_S)


def line_key(line: bytes) -> int:
    """Return the key of a producer's line."""
    return _key(zlib.crc32(line), len(line))


def row_key(row: SpoolRow) -> int:
    """Return the key of a spool's row."""
    data = row.data if isinstance(row.data, bytes) else b""
    return _key(zlib.crc32(data, row.seq & 0xFFFFFFFF), len(data))


def event_key(event: Event) -> int:
    """Return the key of an event that was read, and has no delivery yet."""
    return _key(int.from_bytes(event.digest[:4]), len(event.body))


def _key(digest: int, size: int) -> int:
    # 62 bits, so that it is negative in 64 whatever the size.
    return -(1 + (digest | (size & 0x3FFFFFFF) << 32))


def obituary(key: int, deaths: int) -> str:
    """Say what relayd, or a reader, died at, which it did `deaths` times by now."""
    what = "reading an event" if key < 0 else "working on a delivery"
    times = "once" if deaths == 1 else f"{deaths} times"
    then = "it is quarantined" if deaths >= DEATHS else f"after {DEATHS} times it is quarantined"
    return f"relayd crashed {what}, {times} since its last clean stop; {then}"
