"""Tasks that make one attempt after the other, each under a time limit.

A task and a cancel scope for each attempt cost as much as to sign it and to send it. So a task that
is through waits for the next attempt, and keeps its scope until an attempt is cancelled in it.
"""

import math
from collections.abc import Awaitable, Callable, Iterable
from typing import Generic, TypeVar

import trio

from relayd.delivery.time_limits import TimeLimits

T = TypeVar("T")
R = TypeVar("R")


class Slots(Generic[T, R]):
    """Makes as many attempts at the same time as are started, in tasks of `nursery`.

    `make` makes one, and is cancelled when it takes longer than `timeout_s` says of it. `settle` is
    given what it returned, or None when it was cancelled so, and takes its own time.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        limits: TimeLimits,
        *,
        timeout_s: Callable[[T], float],
        make: Callable[[T], Awaitable[R]],
        settle: Callable[[T, R | None], Awaitable[None]],
    ) -> None:
        self._nursery = nursery
        self._limits = limits
        self._timeout_s = timeout_s
        self._make = make
        self._settle = settle
        self._begun: list[T] = []  # a deque takes ten times the room, for each endpoint
        self._ends_at: dict[trio.CancelScope, float] = {}
        self._looks_at = math.inf
        self._idle = trio.lowlevel.ParkingLot()
        self._closed = False

    def start(self, attempts: Iterable[T]) -> None:
        """Start these attempts now."""
        self._begun.extend(attempts)
        woken = self._idle.unpark(count=len(self._begun))
        for _ in range(len(self._begun) - len(woken)):
            self._nursery.start_soon(self._run)

    def release(self) -> None:
        """End the tasks that wait for an attempt."""
        self._idle.unpark_all()

    def close(self) -> None:
        """End the tasks that wait, and each other one after its attempt; start none after this."""
        self._closed = True
        self.release()

    async def _run(self) -> None:
        while self._begun:
            with trio.CancelScope() as scope:
                while True:
                    attempt, made = self._begun.pop(0), None
                    self._limit(scope, trio.current_time() + self._timeout_s(attempt))
                    try:
                        made = await self._make(attempt)
                    finally:
                        del self._ends_at[scope]
                    # The deadline may have come together with the answer: settle it outside.
                    if scope.cancel_called:
                        break
                    await self._settle(attempt, made)
                    if not self._begun and not self._closed:
                        await self._idle.park()
                    if not self._begun:
                        return
            await self._settle(attempt, made)

    def _limit(self, scope: trio.CancelScope, ends_at: float) -> None:
        self._ends_at[scope] = ends_at
        if ends_at < self._looks_at:
            self._looks_at = ends_at
            self._limits.look_at(ends_at, self._look)

    def _look(self, now: float) -> None:
        """Cancel what takes too long, and come back when the next may."""
        if now < self._looks_at:
            return  # there is an earlier call than this one, and a later one
        for scope, ends_at in self._ends_at.items():
            if ends_at <= now:
                scope.cancel()
        left = (ends_at for ends_at in self._ends_at.values() if ends_at > now)
        self._looks_at = min(left, default=math.inf)
        if self._looks_at < math.inf:
            self._limits.look_at(self._looks_at, self._look)
