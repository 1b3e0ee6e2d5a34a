"""Tasks that run one job after the other, under time limits that cost little until they pass.

A task and a cancel scope for each attempt cost more than to sign it. So a task that has finished its
job waits for the next one, and keeps its scope until that is cancelled.

A deadline in trio for each attempt costs as much again. Nearly all attempts end long before theirs,
so it is enough to look when the earliest one comes, once in a timeout's time. What began together
times out together: attempts at 25 endpoints that hang, ended in one turn of the event loop, delayed
all others by 10 ms. So they are ended one endpoint after the other, with pauses in between. What
begins next at those endpoints is spread from then on.
"""

import math
from collections.abc import Awaitable, Callable
from heapq import heappop, heappush
from itertools import count
from typing import Any, TypeVar

import trio

T = TypeVar("T")

_PAUSE_S = 0.005
_LATE_S = 0.25
"""What is due at once is spread over this at most, so that an attempt ends within half a second of
its time."""

Look = Callable[[float], None]
"""Looks for what has reached its limit at a time of trio's clock."""


class TimeLimits:
    """Calls back when it is time to look for what has reached its limit. One for all endpoints."""

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


class Limit:
    """The time limit of the jobs of one worker, one after the other.

    `ends_at` is when the job is cancelled, on trio's clock; infinity for never. `passed`: it was, and
    so is whatever this worker awaits after that.
    """

    __slots__ = ("_pool", "_scope", "ends_at", "passed")

    def __init__(self, pool: "WorkerPool", scope: trio.CancelScope) -> None:
        self._pool = pool
        self._scope = scope
        self.ends_at = math.inf
        self.passed = False

    def begin(self, seconds: float) -> None:
        """Cancel the job if `end` is not called within so many seconds."""
        self.ends_at = ends_at = trio.current_time() + seconds
        self._pool.look_at(ends_at)

    def end(self) -> None:
        """Take back what `begin` said."""
        self.ends_at = math.inf

    def cancel(self) -> None:
        """Cancel the job."""
        self.passed = True
        self._scope.cancel()


class WorkerPool:
    """Runs as many jobs at the same time as are started, in tasks of `nursery`.

    A job is a function of an item and of its worker's `Limit`. An exception from it ends the
    nursery.
    """

    def __init__(self, nursery: trio.Nursery, limits: TimeLimits) -> None:
        self._nursery = nursery
        self._limits = limits
        # A list, since a deque takes ten times the memory, for each endpoint.
        self._jobs: list[tuple[Callable[[Any, Limit], Awaitable[None]], Any]] = []
        self._idle = trio.lowlevel.ParkingLot()
        self._closed = False
        self._running: list[Limit] = []
        self._looks_at = math.inf

    def start(self, work: Callable[[T, Limit], Awaitable[None]], item: T) -> None:
        """Start `work(item, limit)` now."""
        self._jobs.append((work, item))
        if not self._idle.unpark():
            self._nursery.start_soon(self._run)

    def end_idle(self) -> None:
        """End the tasks that wait for a job."""
        self._idle.unpark_all()

    def close(self) -> None:
        """End the tasks that wait, and each other one after its job; start none after this."""
        self._closed = True
        self.end_idle()

    def look_at(self, ends_at: float) -> None:
        """Look for limits that have passed at a time of trio's clock."""
        if ends_at < self._looks_at:
            self._looks_at = ends_at
            self._limits.look_at(ends_at, self._look)

    async def _run(self) -> None:
        while self._jobs:
            with trio.CancelScope() as scope:
                limit = Limit(self, scope)
                self._running.append(limit)
                try:
                    while self._jobs and not limit.passed:
                        work, item = self._jobs.pop(0)
                        await work(item, limit)
                        if not (self._jobs or self._closed or limit.passed):
                            await self._idle.park()
                finally:
                    self._running.remove(limit)

    def _look(self, now: float) -> None:
        """Cancel what takes too long, and come back when the next may."""
        if now < self._looks_at:
            return  # there is an earlier call than this one, and a later one
        self._looks_at = math.inf
        for limit in self._running:
            if limit.ends_at > now:
                self._looks_at = min(self._looks_at, limit.ends_at)
            elif not limit.passed:
                limit.cancel()
        if self._looks_at < math.inf:
            self._limits.look_at(self._looks_at, self._look)
