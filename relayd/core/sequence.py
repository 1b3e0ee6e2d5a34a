"""An event's sequence number: it grows with each accepted event, whatever happens to the queue.

It is the time of acceptance in microseconds, or one more than the number before where that is not
greater: so it also grows from a queue to one that replaces it, and to a restored backup, as long as
fewer than a million events a second are accepted.
"""

from typing import Final

_LATEST: Final = 9_000_000_000_000_000
"""In March 2255. A clock beyond that is wrong; numbers go on by one, and stay below 2^53, which
JavaScript can count to."""


def next_sequence(before: int, now: float) -> int:
    """Return the number that follows `before`, 0 for none. `now` is in Unix seconds."""
    return max(before + 1, min(int(now * 1_000_000), _LATEST))
