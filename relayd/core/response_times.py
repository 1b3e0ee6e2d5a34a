"""Response times in classes, so that thousands of them take a few numbers to keep.

A class is a fourth of a doubling: what is said of a time is right within a tenth.
"""

import math
from collections.abc import Mapping

NO_ANSWER = -1
"""The class of an attempt that got no answer."""

_FIRST_S = 0.001
_LAST = 80


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
