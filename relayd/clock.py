"""relayd's clock: it runs evenly, and a step of the system's clock moves all stored times with it.

If relayd read the system's clock directly, that could be set at any moment, and times computed before
the step could not be told apart from times computed after it. So relayd's clock is based on one that
is never set, and follows the system's clock once a second. A step is reported, so that scheduled
retries can move with it.
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
    # Unlike CLOCK_MONOTONIC it also runs while the machine is suspended: what came due then is due.
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Clock:
    """Gives Unix seconds. `wall` is the system's clock, `steady` one that is never set."""

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
        """Return the seconds since it was created, whatever the system's clock was set to since."""
        return self._steady() - self._made

    def follow(self) -> float:
        """Follow the system's clock; return the seconds by which it was set, or 0."""
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
        """Return how long the clock has run evenly: since the start, or since it was last set."""
        return Steadiness(self._steady() - self._steady_since, self._stepped)

    def _look(self) -> Sighting | None:
        """Read both clocks; None when the two readings were never close enough together."""
        for _ in range(_TRIES):
            before = self._steady()
            wall = self._wall()
            if self._steady() - before < _AT_ONCE_S:
                return Sighting(wall, before)
        return None


@dataclass(frozen=True, slots=True)
class StartStep:
    """The step of the clock found at the start: seconds back that retries must still move by, or 0.

    `certain` says that all scheduled times are by this process's clock.
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
        # Retries first: after a kill in between, the next start finds the same gap and moves the rest.
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
    """Makes the clock follow the system's, and moves scheduled times with each step of it."""

    def __init__(self, clock: Clock, queue: QueueWriter, dispatch: Dispatch) -> None:
        self._clock = clock
        self._queue = queue
        self._dispatch = dispatch
        self._certain = False
        self._began = False

    async def run(self, start: StartStep = StartStep()) -> None:
        """Keep time until cancelled, after a step at the start. Raises `QueueError`.

        When it runs again after a defect, the step at the start is not applied a second time.
        """
        if not self._began:
            self._began = True
            self._certain = start.certain
            if start.seconds:
                await self._move(start.seconds, self._clock.now())
        while True:
            await trio.sleep(_LOOK_S)
            self._certain |= self._clock.steadiness().seconds >= TRUSTED_S
            if step := self._clock.follow():
                stepped_at = self._clock.now()
                self._dispatch.move_times(step)
                known = self._dispatch.health_of
                await move_endpoints(self._queue, step, stepped_at, known)
                await self._move(step, stepped_at)

    async def _move(self, step: float, stepped_at: float) -> None:
        moved = await move_retries(
            self._queue, step, stepped_at, now=self._clock.now(), certain=self._certain
        )
        # After a step forward, each retry's times are by the clock of this process.
        self._certain |= step > 0
        # The times they wait for have changed.
        self._dispatch.wake_all()
        _log.warning(
            "clock_stepped",
            step_s=round(step, 1),
            retries=moved,
            detail="the system's clock was set: pending retries keep their remaining waits",
        )
