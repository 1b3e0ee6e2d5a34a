"""The attempts' time limits: one task for all of them, which ends the few that take too long.

A deadline in trio for each attempt costs 8 µs, set and taken back. Nearly all attempts are through
long before theirs, so that it is enough to look when the earliest comes, once in a timeout's time.

What began together times out together: attempts at 25 endpoints that hang, ended in one turn of the
event loop, kept all others waiting for 10 ms. So they are ended one endpoint after the other, with
pauses in which the others go on. What begins next at them is spread from then on.
"""

import math
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import count

import trio

_PAUSE_S = 0.005
_LATE_S = 0.25
"""What is due at once is spread over this at most, so that an attempt ends within half a second of its time."""

Look = Callable[[float], None]
"""Looks at what takes too long at a time of trio's clock."""


class TimeLimits:
    """Calls back when it is time to look at what may take too long."""

    def __init__(self) -> None:
        self._looks: list[tuple[float, int, Look]] = []
        self._numbers = count()  # callbacks have no order
        self._scope = trio.CancelScope()

    def look_at(self, when: float, look: Look) -> None:
        """Have `look` called at `when`, on trio's clock, or soon after."""
        heappush(self._looks, (when, next(self._numbers), look))
        self._scope.deadline = min(self._scope.deadline, when)

    async def run(self) -> None:
        """Call back until cancelled."""
        while True:
            first = self._looks[0][0] if self._looks else math.inf
            with trio.CancelScope(deadline=first) as self._scope:
                await trio.sleep_forever()
            due = self._take_due(trio.current_time())
            for look in due:
                look(trio.current_time())
                if len(due) > 1:
                    await trio.sleep(min(_PAUSE_S, _LATE_S / len(due)))

    def _take_due(self, now: float) -> list[Look]:
        due: list[Look] = []
        while self._looks and self._looks[0][0] <= now:
            due.append(heappop(self._looks)[2])
        return due
