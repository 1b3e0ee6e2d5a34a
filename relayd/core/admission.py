"""Which of an endpoint's waiting deliveries start next.

Fresh deliveries and the backlog are admitted in turn, the oldest of each first, so that a backlog
of any size never starves what is fresh, nor the other way round (the idea is Postfix's, which
admits one new message and one deferred one in turn).
"""

from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

FRESH_FOR_S = 60.0
"""How long a delivery that was not attempted yet counts as fresh; older ones are backlog."""


def admit(
    fresh: Sequence[T], backlog: Sequence[T], count: int, *, backlog_first: bool
) -> tuple[list[T], bool]:
    """Return at most `count` of both, in turn, and whether the backlog is first the next time."""
    admitted: list[T] = []
    queues = [iter(backlog), iter(fresh)] if backlog_first else [iter(fresh), iter(backlog)]
    turn = 0
    misses = 0
    while len(admitted) < count and misses < 2:
        item = next(queues[turn], None)
        if item is None:
            misses += 1
        else:
            misses = 0
            admitted.append(item)
        turn = 1 - turn
    return admitted, backlog_first == (turn == 0)
