"""Removes what has been kept for the retention: ended events with their deliveries, rejected input.

While the queue is larger than it may be, the oldest rejected input goes before that, then the oldest
events whose deliveries have all ended; never what still waits. What time it is for all this, and
whether the clock is believed, says `core.expiry`.

In small steps with pauses between them, each one transaction that looks at its events anew, so
that nothing is held up, and nothing is removed that was replayed meanwhile. What to remove is
looked for over a connection of its own. An event's id stays known for 30 days at least, so that a
producer's second try is known as one: with a shorter retention, only the body goes at first.

Logs `pruned` and `rejected_removed` with what went, `retention_paused` before it would go by a clock that
may be wrong and `retention_resumed` when it does, `queue_too_large` when nothing is left that may go.
"""

from collections.abc import Awaitable, Callable
from math import inf
from typing import Final

import structlog
import trio

from relayd.config.sections import QueueConfig
from relayd.core.expiry import Expiry, Steadiness, decide
from relayd.queue.interface import QueueUnavailable, QueueWriter, Survey
from relayd.queue.values import Cursor, Horizon

_log = structlog.get_logger()

IDS_KEPT_S: Final = 30 * 86_400.0
PAUSE_S: Final = 0.05
INTERVAL_S: Final = 300.0
SIZE_INTERVAL_S: Final = 10.0
SETTLED_S: Final = 600.0
"""What ended so lately stays at any size: an attempt under way may still be recorded for it."""


def horizon_at(now: float, retention_s: float) -> Horizon:
    """Return what may go at a moment."""
    return Horizon(now - retention_s, now - max(retention_s, IDS_KEPT_S))


class Pruning:
    """Removes what may go, as long as it runs. `clock` gives Unix seconds.

    `steadiness` says for how long the clock has run evenly. `too_large` says that the queue is
    larger than it may be, and nothing is left that may go.
    """

    def __init__(
        self,
        queue: QueueWriter,
        config: QueueConfig,
        clock: Callable[[], float],
        steadiness: Callable[[], Steadiness] = lambda: Steadiness(inf, stepped=False),
    ) -> None:
        self._queue = queue
        self._config = config
        self._clock = clock
        self._steadiness = steadiness
        self._waiting = False
        self._changed = trio.Event()
        self._cursor: Cursor | None = None
        self.too_large = False

    def apply(self, config: QueueConfig) -> None:
        """Keep as this configuration says from now on."""
        if config != self._config:
            self._config = config
            self._changed.set()

    async def run(self) -> None:
        """Remove what may go, again and again, until cancelled. Raises `QueueBroken`."""
        async with self._queue.survey() as survey:
            while True:
                self._changed = trio.Event()
                await self._patiently(self._by_age, survey)
                again_at = trio.current_time() + INTERVAL_S
                # From the oldest on: what was passed, since it still waited, may have ended by now.
                self._cursor = Cursor()
                while not self._changed.is_set() and trio.current_time() < again_at:
                    await self._patiently(self._by_size, survey)
                    with trio.move_on_after(SIZE_INTERVAL_S):
                        await self._changed.wait()

    async def _patiently(self, prune: Callable[[Survey], Awaitable[int]], survey: Survey) -> None:
        try:
            removed = await prune(survey)
        except QueueUnavailable as error:
            _log.warning("retention_delayed", detail=str(error))
        else:
            if removed:
                _log.info("retention_removed", events=removed)

    async def _by_age(self, survey: Survey) -> int:
        now = self._clock()
        expiry = await self._expiry(survey, now)
        # The warning comes before anything goes.
        self._tell_expiry(expiry)

        horizon = horizon_at(expiry.horizon, self._config.retention_s)
        await self._queue.remember_expiry(now, expiry, known=horizon.known)
        await self._remove_rejected(horizon.ended)
        removed = 0
        cursor: Cursor | None = Cursor()
        while cursor is not None and not self._changed.is_set():
            count, cursor = await self._step(survey, horizon, cursor)
            removed += count
        return removed

    async def _by_size(self, survey: Survey) -> int:
        most = self._config.max_bytes
        removed = 0
        if most is None or await survey.used_bytes() <= most:
            return self._tell_fits()
        now = (await self._expiry(survey, self._clock())).horizon
        horizon = Horizon(now - SETTLED_S, horizon_at(now, self._config.retention_s).known)
        await self._remove_rejected_by_size(survey, most)
        while (used := await survey.used_bytes()) > most:
            if self._changed.is_set():
                return removed
            if self._cursor is None:
                await self._tell(survey, used, most)
                return removed
            count, self._cursor = await self._step(survey, horizon, self._cursor)
            removed += count
        self._tell_fits()
        return removed

    async def _expiry(self, survey: Survey, now: float) -> Expiry:
        evidence = await survey.evidence()
        return decide(now, self._steadiness(), evidence, retention_s=self._config.retention_s)

    async def _remove_rejected(self, before: float) -> None:
        removed = 0
        while gone := await self._queue.prune_rejected(before):
            removed += gone
            await trio.sleep(PAUSE_S)
        if removed:
            _log.info("rejected_removed", rows=removed, reason="retention")

    async def _remove_rejected_by_size(self, survey: Survey, most: int) -> None:
        removed = 0
        while await survey.used_bytes() > most and not self._changed.is_set():
            gone = await self._queue.prune_rejected(inf)
            if not gone:
                break
            removed += gone
            await trio.sleep(PAUSE_S)
        if removed:
            _log.warning(
                "rejected_removed",
                rows=removed,
                reason="max_size",
                max_bytes=most,
                detail=(
                    "the queue was larger than queue.max_size, and the oldest rejected input was"
                    " removed before any event"
                ),
            )

    async def _step(
        self, survey: Survey, horizon: Horizon, cursor: Cursor
    ) -> tuple[int, Cursor | None]:
        step = await survey.prunable(horizon, cursor)
        if not step.events:
            return 0, step.cursor
        removed = await self._queue.prune(horizon, step.events)
        await trio.sleep(PAUSE_S)
        return removed, step.cursor

    def _tell_expiry(self, expiry: Expiry) -> None:
        waits = expiry.waits_s > 0
        if waits and not self._waiting:
            _log.warning(
                "retention_paused",
                ahead_s=round(expiry.ahead_s),
                waits_s=round(expiry.waits_s),
                detail="the clock was set, or is far ahead of when relayd last looked: nothing"
                " expires until it has been steady. If it is wrong, set it; what is older than"
                " queue.retention by it goes after that, a day's worth at a time",
            )
        elif self._waiting and not waits:
            _log.warning("retention_resumed", ahead_s=round(expiry.ahead_s))
        self._waiting = waits

    def _tell_fits(self) -> int:
        if self.too_large:
            self.too_large = False
            _log.info("queue_size_recovered")
        return 0

    async def _tell(self, survey: Survey, used: int, most: int) -> None:
        if not self.too_large:
            filled_by = await survey.contents()
            self.too_large = True
            _log.warning(
                "queue_too_large",
                bytes=used,
                max_bytes=most,
                events_bytes=filled_by.events,
                attempts_bytes=filled_by.attempts,
                rejected_bytes=filled_by.rejected,
                other_bytes=filled_by.other,
                detail=(
                    "it is larger than queue.max_size, and nothing in it has ended: pending"
                    " deliveries and ids are kept. `relayd status` shows the backlog"
                ),
            )
