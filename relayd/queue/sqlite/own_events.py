"""What the open queue does for own events: puts them into `outbox` and `notices`, and hands out the former."""

import sqlite3
from collections.abc import Callable, Mapping, Sequence

import trio

from relayd.core.operating_events import UNAVAILABLE
from relayd.core.own_events import OutboxRow, OwnEvent, Report
from relayd.database import Database
from relayd.queue.sqlite import notices, outbox

_OUTBOX_LIMIT = 100


class OwnEventsPath:
    """The way of relayd's own events through the open queue: see `interface.QueueWriter`."""

    def __init__(self, writer: Database, reader: Database, clock: Callable[[], float]) -> None:
        self._writer = writer
        self._reader = reader
        self._clock = clock
        self._own_types: frozenset[str] = frozenset()
        # Set at the start, since a process that was killed may have left something.
        self._outbox_filled = trio.Event()
        self._outbox_filled.set()

    async def outbox(self) -> Sequence[OutboxRow]:
        """Return the first of relayd's own events on their way in, once there are some."""
        while True:
            # Off before the look: what is put there meanwhile sets it again.
            await self._outbox_filled.wait()
            self._outbox_filled = trio.Event()
            found: Sequence[OutboxRow] | None = None
            try:
                found = await self._reader.run(lambda db: outbox.read(db, _OUTBOX_LIMIT))
            finally:
                if found is None:
                    self._filled(1)  # it is not known whether there are any
            if found:
                self._filled(len(found))
                return found

    async def remove_from_outbox(self, rows: Sequence[OutboxRow]) -> None:
        """Remove own events that were accepted."""
        await self._writer.write(lambda db: outbox.remove(db, rows))

    async def report(self, reports: Sequence[Report]) -> None:
        """Make own events durable, of those types that somebody wants."""
        now = self._clock()
        self._filled(
            await self._writer.write(
                lambda db: notices.report(db, reports, self._own_types, now=now)
            )
        )

    async def report_due(self) -> None:
        """Report what was counted for ten minutes. Writes nothing where there is nothing."""
        more = await self._reader.run(lambda db: notices.any_due(db, self._clock()))
        while more:
            told, more = await self._writer.write(
                lambda db: notices.report_due(db, self._own_types, now=self._clock())
            )
            self._filled(told)

    async def source_outages(self) -> Mapping[str, float]:
        """Return the sources that were reported as unavailable, and since when they are."""
        return await self._reader.run(notices.read_outages)

    async def begin_source_outage(self, source: str, since: float, event: OwnEvent) -> bool:
        """Report a source as unavailable; return False, and do nothing, where nobody wants to know."""
        if UNAVAILABLE not in self._own_types:
            return False

        def work(db: sqlite3.Connection) -> int:
            notices.begin_outage(db, source, since)
            return outbox.put(db, [event], self._own_types)

        self._filled(await self._writer.write(work))
        return True

    async def end_source_outage(self, source: str, event: OwnEvent | None) -> None:
        """Report a source as recovered; without an event it is no longer there."""

        def work(db: sqlite3.Connection) -> int:
            notices.end_outage(db, source)
            return outbox.put(db, [] if event is None else [event], self._own_types)

        self._filled(await self._writer.write(work))

    def _filled(self, count: int) -> None:
        """Wake who takes own events, where so many were written."""
        if count:
            self._outbox_filled.set()
