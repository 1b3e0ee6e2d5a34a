"""How attempts are counted for how long they took, so that thousands of them take a few numbers to keep.

A histogram has few bounds, for all attempts (the metrics). Response times are kept in classes, for the
attempts that were answered: a class is a fourth of a doubling, so that what is said of a time is right
within a tenth.
"""

import math
from bisect import bisect_left
from collections.abc import Mapping
from typing import Final

BOUNDS_MS: Final = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)
"""They are kept in the queue: another bound may be added, and counts what comes from then on."""

LONGER: Final = 0
"""Stands for the attempts that took longer than any bound."""

NO_ANSWER = -1
"""The class of an attempt that got no answer."""

_FIRST_S = 0.001
_LAST = 80


def bound_ms(duration_s: float) -> int:
    """Return the least bound, in milliseconds, that an attempt of so many seconds took at most."""
    place = bisect_left(BOUNDS_MS, duration_s * 1000)
    return BOUNDS_MS[place] if place < len(BOUNDS_MS) else LONGER


def response_class(duration_s: float) -> int:
    """Return the class of a time: 0 up to a millisecond, then four for each doubling."""
    if duration_s <= _FIRST_S:
        return 0
    return min(math.ceil(4 * math.log2(duration_s / _FIRST_S)), _LAST)


def quantile_s(counts: Mapping[int, int], quantile: float) -> float | None:
    """Return the time that this share of the answers took at most, in seconds.

    `counts` says how many there were of each class; those without an answer are left out. None
    where there was no answer. `quantile` is between 0 and 1.
    """
    answered = sorted((each, count) for each, count in counts.items() if each != NO_ANSWER)
    total = sum(count for _, count in answered)
    rank = max(1, math.ceil(quantile * total))
    for each, count in answered:
        rank -= count
        if rank <= 0:
            doublings = max(each - 0.5, 0.0) / 4
            return _FIRST_S * math.pow(2.0, doublings)
    return None
