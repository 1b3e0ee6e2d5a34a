"""The bounds by which attempts are counted for how long they took, as a histogram has them."""

from bisect import bisect_left
from typing import Final

BOUNDS_MS: Final = (5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 30_000)
"""They are kept in the queue: another bound may be added, and counts what comes from then on."""

LONGER: Final = 0
"""Stands for the attempts that took longer than any bound."""


def bound_ms(duration_s: float) -> int:
    """Return the least bound, in milliseconds, that an attempt of so many seconds took at most."""
    place = bisect_left(BOUNDS_MS, duration_s * 1000)
    return BOUNDS_MS[place] if place < len(BOUNDS_MS) else LONGER
