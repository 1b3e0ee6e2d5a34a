"""Reports what takes time to report: sources that have waited for a minute, and what was counted for ten.

Refused reloads are counted in memory, the rest in the queue.

Looks every five seconds. Logged: `queue_unavailable` (warning) where the queue cannot take it; the next look
tries again. The decisions are in `core.operating_events` and `core.notices`.
"""

from collections.abc import Callable, Mapping
from typing import Final

import structlog
import trio

from relayd.core.operating_events import (
    Refusals,
    Waits,
    reload_refused,
    source_news,
    source_recovered,
    source_unavailable,
    waits_at,
)
from relayd.queue.interface import QueueUnavailable, QueueWriter
from relayd.sources.source import SourceStanding

_log = structlog.get_logger()

LOOK_S: Final = 5.0


class Notices:
    """`standing` returns how each source is, by its name; `clock` gives Unix seconds."""

    def __init__(
        self,
        queue: QueueWriter,
        standing: Callable[[], Mapping[str, SourceStanding]],
        clock: Callable[[], float],
        refusals: Refusals,
    ) -> None:
        self._queue = queue
        self._refusals = refusals
        self._standing = standing
        self._clock = clock
        self._waits: dict[str, Waits] = {}
        self._reported: dict[str, float] | None = None
        """The sources that were reported as unavailable, with since when; None before the queue was asked."""

    async def run(self) -> None:
        """Report until cancelled. Raises `QueueBroken`."""
        while True:
            try:
                await self._look_at_sources()
                await self._report_refusals()
                await self._queue.report_due()
            except QueueUnavailable as error:
                _log.warning("queue_unavailable", detail=str(error))
            await trio.sleep(LOOK_S)

    async def _report_refusals(self) -> None:
        refused = self._refusals.due(trio.current_time())
        if refused is None:
            return
        try:
            await self._queue.report([reload_refused(refused, self._clock())])
        except BaseException:
            self._refusals.put_back(refused)
            raise

    async def _look_at_sources(self) -> None:
        now, standing = trio.current_time(), self._standing()
        waiting = {name: each.waits_for is not None for name, each in standing.items()}
        self._waits = waits_at(self._waits, waiting, now)
        if self._reported is None:
            self._reported = dict(await self._queue.source_outages())
        reported = self._reported
        news = source_news(self._waits, reported, now)
        for name in news.unavailable:
            wall = self._clock()
            since = wall - (now - self._waits[name].since)
            event = source_unavailable(name, standing[name].waits_for or "", since, wall)
            if await self._queue.begin_source_outage(name, since, event):
                reported[name] = since
        for name in news.recovered:
            event = source_recovered(name, reported[name], self._clock())
            await self._queue.end_source_outage(name, event)
            del reported[name]
        for name in news.forgotten:
            await self._queue.end_source_outage(name, None)
            del reported[name]
