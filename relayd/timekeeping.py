"""The time of day that relayd goes by: it runs evenly, and is set only when all times are.

Read straight from the system, the clock could be set at any moment, and times decided before it
could not be told from times decided after. So this one goes by a clock that is never set, and
follows the system's once a second; a step of it is told, so that what waits can move with it.
"""

import time
from collections.abc import Callable

import structlog
import trio

from relayd.core.clock_step import Sighting, step_between, step_since
from relayd.delivery.dispatch import Dispatch
from relayd.queue.queue import Queue
from relayd.queue.rescheduling import move_endpoints, move_retries, newest

_log = structlog.get_logger()

_LOOK_S = 1.0
_AT_ONCE_S = 0.001
_TRIES = 10


def _steady() -> float:
    # Unlike CLOCK_MONOTONIC it goes on while the machine sleeps: what was due meanwhile is due.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """Unix seconds. `wall` is the system's clock, `steady` one that is never set."""

    def __init__(
        self, wall: Callable[[], float] = time.time, steady: Callable[[], float] = _steady
    ) -> None:
        self._wall = wall
        self._steady = steady
        self._last = self._look() or Sighting(wall(), steady())

    def now(self) -> float:
        """Return the time in Unix seconds."""
        return self._steady() + self._last.offset

    def follow(self) -> float:
        """Follow the system's clock; return the seconds by which it was set, 0 where it was not."""
        now = self._look()
        if now is None:
            return 0.0
        step = step_between(self._last, now)
        self._last = now
        return step

    def _look(self) -> Sighting | None:
        """Read both clocks; None where something came between the readings each time."""
        for _ in range(_TRIES):
            before = self._steady()
            wall = self._wall()
            if self._steady() - before < _AT_ONCE_S:
                return Sighting(wall, before)
        return None


async def step_at_start(clock: Clock, queue: Queue) -> float:
    """Look whether the clock was set back while relayd was down, before anything is due.

    Returns the step, for `Timekeeping.run`, or 0; the endpoints' times have moved with it. Raises
    `DatabaseError`.
    """
    step = step_since(await queue.look(newest), clock.now())
    if step:
        await move_endpoints(queue, step)
    return step


class Timekeeping:
    """Has the clock follow the system's, and what waits move with each step of it."""

    def __init__(self, clock: Clock, queue: Queue, dispatch: Dispatch) -> None:
        self._clock = clock
        self._queue = queue
        self._dispatch = dispatch

    async def run(self, step: float = 0.0) -> None:
        """Keep time until cancelled, after a `step` at the start. Raises `DatabaseError`."""
        if step:
            await self._move(step)
        while True:
            await trio.sleep(_LOOK_S)
            if step := self._clock.follow():
                self._dispatch.move_times(step)
                await move_endpoints(self._queue, step)
                await self._move(step)

    async def _move(self, step: float) -> None:
        moved = await move_retries(self._queue, step, self._clock.now())
        # What they waited for has a new time.
        self._dispatch.wake_all()
        _log.warning(
            "clock_stepped",
            step_s=round(step, 1),
            retries=moved,
            detail="the system's clock was set: what waits keeps its waits",
        )
