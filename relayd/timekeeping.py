"""The time of day that relayd goes by: it runs evenly, and is set only when all times are.

Read straight from the system, the clock could be set at any moment, and times decided before it
could not be told from times decided after. So this one goes by a clock that is never set, and
follows the system's once a second; a step of it is told, so that what waits can move with it.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog
import trio

from relayd.core.clock_step import GAP_S, Sighting, is_gap, step_between, step_since
from relayd.core.expiry import TRUSTED_S, Steadiness
from relayd.delivery.dispatch import Dispatch
from relayd.queue.clock_shift import move_endpoints, move_retries
from relayd.queue.interface import QueueWriter

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
        self._made = steady()
        self._last = self._look() or Sighting(wall(), steady())
        self._steady_since = self._last.steady
        self._stepped = False

    def now(self) -> float:
        """Return the time in Unix seconds."""
        return self._steady() + self._last.offset

    def age(self) -> float:
        """Return the seconds since it was made, whatever the system's clock was set to meanwhile."""
        return self._steady() - self._made

    def follow(self) -> float:
        """Follow the system's clock; return the seconds by which it was set, 0 where it was not."""
        now = self._look()
        if now is None:
            return 0.0
        step = step_between(self._last, now)
        self._last = now
        if step:
            self._steady_since = now.steady
            self._stepped = True
        return step

    def steadiness(self) -> Steadiness:
        """Return for how long the clock has run evenly: since the start, or since it was set."""
        return Steadiness(self._steady() - self._steady_since, self._stepped)

    def _look(self) -> Sighting | None:
        """Read both clocks; None where something came between the readings each time."""
        for _ in range(_TRIES):
            before = self._steady()
            wall = self._wall()
            if self._steady() - before < _AT_ONCE_S:
                return Sighting(wall, before)
        return None


@dataclass(frozen=True, slots=True)
class StartStep:
    """What was found at the start: a step back in seconds that retries must still move with, or 0.

    `certain` says that all that waits has its times by the clock of this process.
    """

    seconds: float = 0.0
    certain: bool = False


async def step_at_start(clock: Clock, queue: QueueWriter) -> StartStep:
    """Look whether the clock was set while relayd was down, before anything is due.

    Of a step back, the endpoints' times have moved when this returns, and `Timekeeping.run` moves
    the retries. With a long gap, of rest or by a clock that is ahead, all have moved. Raises
    `QueueError`.
    """
    now = clock.now()
    step = step_since(await queue.looks.newest_decision(), now)
    if step:
        await move_endpoints(queue, step, now)
        return StartStep(step)
    seen_at = await queue.looks.clock_seen_at()
    if seen_at is not None and is_gap(seen_at, now):
        # Since the last look, something may have been scheduled. What a start that was killed has
        # moved already is newer than that.
        last = await queue.looks.newest_retry_before(now - GAP_S / 2)
        gap = now - max(seen_at, last)
        # Retries first: killed in between, the next start finds the same gap, and moves the rest.
        moved = await move_retries(queue, gap, now)
        await move_endpoints(queue, gap, now)
        _log.warning(
            "clock_gap",
            gap_s=round(gap),
            retries=moved,
            detail=(
                "the clock is this far ahead of the time when relayd last ran: either relayd was"
                " down for that long, or the clock is wrong. Each retry keeps its remaining wait"
            ),
        )
        return StartStep(certain=True)
    return StartStep()


class Timekeeping:
    """Has the clock follow the system's, and what waits move with each step of it."""

    def __init__(self, clock: Clock, queue: QueueWriter, dispatch: Dispatch) -> None:
        self._clock = clock
        self._queue = queue
        self._dispatch = dispatch
        self._certain = False
        self._began = False

    async def run(self, start: StartStep = StartStep()) -> None:
        """Keep time until cancelled, after a step at the start. Raises `QueueError`.

        When it runs again after a defect, the step at the start is not made a second time.
        """
        if not self._began:
            self._began = True
            self._certain = start.certain
            if start.seconds:
                await self._move(start.seconds)
        while True:
            await trio.sleep(_LOOK_S)
            self._certain |= self._clock.steadiness().seconds >= TRUSTED_S
            if step := self._clock.follow():
                self._dispatch.move_times(step)
                await move_endpoints(self._queue, step, self._clock.now())
                await self._move(step)

    async def _move(self, step: float) -> None:
        moved = await move_retries(self._queue, step, self._clock.now(), certain=self._certain)
        # After a step forward, each retry's times are by the clock of this process.
        self._certain |= step > 0
        # What they waited for has a new time.
        self._dispatch.wake_all()
        _log.warning(
            "clock_stepped",
            step_s=round(step, 1),
            retries=moved,
            detail="the system's clock was set: pending retries keep their remaining waits",
        )
