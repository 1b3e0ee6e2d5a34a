"""Which inputs and deliveries relayd has died at too often to be tried again: quarantined.

What relayd was at when it died is known by a number, its key. A delivery's is its own number, which
is positive; an input's, before it is an event with a name, is made of its bytes and is negative.
"""

import zlib
from collections import Counter
from collections.abc import Iterable
from typing import Final

from relayd.core.event import Event, Rejection, SpoolRow

NOTHING: Final = 0
"""The key of nothing: it waits."""

DEATHS: Final = 3
"""So often relayd may die at the same thing. Once may be chance: the machine ran out of memory, or
somebody killed the process. Three times at one out of thousands is not."""

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
