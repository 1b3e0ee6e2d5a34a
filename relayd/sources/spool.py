"""One spool: reads the rows that producers insert, hands them to intake, then deletes them.

All rows are read, never those past a mark: a lower explicit `seq` is possible, and a restored
backup brings old rows again, which are known by their ids. A row is deleted only when it is
durable in the queue, or in its rejected list; a crash between the two accepts nothing twice.

The file is somebody else's: it may be missing, locked, replaced or of another shape at any time.
The spool then says what it waits for, and goes on when it can.
"""

import os
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import structlog
import trio

from relayd.at_work import AtWork
from relayd.config.sections import SpoolConfig
from relayd.core.acceptance import Acceptance, RejectedRow, refusal
from relayd.core.event import Event, EventDefaults, Rejection, SpoolRow, event_from_row
from relayd.core.poison import POISON, row_key
from relayd.database import (
    Database,
    DatabaseBusyError,
    DatabaseError,
    DatabaseFailedError,
    DatabaseFullError,
)
from relayd.sources.file_watch import FileWatch
from relayd.spool.table import Look, SpoolTable, SpoolUnusableError

_log = structlog.get_logger()

_RETRY_S = 1.0
_LOOK_S = 1.0  # how often to look without having been told of a change

# The directory tells of a write before its commit can be seen, so it is looked for at growing
# distances. Measured: `data_version` alone every 20 ms took 10 ms in the median and 1.8 % of a core
# when idle; the directory alone up to 1 s.
_PAUSES_S = tuple(0.0005 * 2**step for step in range(9))


class SpoolIntake(Protocol):
    """What a spool needs of intake. Each call returns once its rows are durable."""

    async def accept(self, events: Sequence[Event], source: str) -> Sequence[Acceptance]:
        """Accept events, in one transaction."""

    async def reject(self, rejected: Sequence[RejectedRow]) -> None:
        """Keep rows that cannot be events, with the reason."""


class Spool:
    """A source: one spool file. `waits_for` says what keeps it from being read, if anything."""

    def __init__(
        self,
        config: SpoolConfig,
        intake: SpoolIntake,
        clock: Callable[[], float],
        at_work: AtWork,
    ) -> None:
        self._config = config
        self._intake = intake
        self._clock = clock
        self._at_work = at_work
        self._source = f"spool {config.name}"
        self._defaults = EventDefaults(config.market_id, config.api_version)
        self._table = SpoolTable(config.path, config.table)
        self._log = _log.bind(source=self._source, path=str(config.path))
        self.waits_for: str | None = None
        self._delayed = False  # its last rows had to wait, for the queue or for their deletion

    async def run(self) -> None:
        """Read the spool until cancelled. Raises `DatabaseError` of the queue only."""
        while True:
            try:
                async with self._open() as (database, watch):
                    await self._drain(database, watch)
            except SpoolUnusableError as problem:
                self._wait_for(str(problem))
            except DatabaseError as error:
                if error.path != self._config.path:
                    raise  # the queue's own trouble is not the spool's to wait out
                self._wait_for(self._explain(error))
            await trio.sleep(_RETRY_S)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[tuple[Database, FileWatch]]:
        path = self._config.path
        if barred := _barred(path):
            # SQLite would open what it may only read, and make files beside it that then keep the
            # producers out.
            raise SpoolUnusableError(
                f"this user may not write to {', '.join(barred)}: relayd and the producers need a"
                f" group in common, which may write to {path} and in {path.parent}, and the folder"
                " must give it to its files (chmod g+rwxs); under systemd, ReadWritePaths= must"
                " name a folder outside of /var/lib/relayd"
            )
        with FileWatch(path) as watch:
            async with Database.open(
                path,
                # trusted_schema = OFF would be right for somebody else's file, but SQLite 3.40 then
                # refuses the table's own json_valid(). Triggers and views are refused instead, and
                # no function beyond SQLite's own is there to be called.
                #
                # A deletion need not be synced (the row would be known by its id), and a producer
                # without a busy timeout must not meet a lock that is held for a sync.
                pragmas=("cell_size_check = ON", "cache_size = -4000", "synchronous = NORMAL"),
                busy_timeout_s=1.0,
            ) as database:
                await database.run(self._table.check)
                yield database, watch

    async def _drain(self, database: Database, watch: FileWatch) -> None:
        """Take in all that is there, and what comes, until the file is replaced."""
        look = await database.run(self._table.look)
        while watch.same_file():
            if look.rows:
                if await self._take(look.rows):
                    look = await self._delete_and_look(database, watch, look)
                else:
                    await trio.sleep(_RETRY_S)
                continue
            self._ready(look)
            look = await self._next_look(database, watch, look)
        self._log.info("spool_replaced")

    async def _delete_and_look(self, database: Database, watch: FileWatch, last: Look) -> Look:
        """Delete the rows that were taken in, however long that takes, and look at the next ones.

        To read them again meanwhile would hand in the same events each second.
        """

        # What the deletion makes the watch tell is forgotten before the look, so that a commit
        # after the look is told.
        def work(db: sqlite3.Connection) -> Look:
            self._table.delete(db, last.rows)
            watch.forget_events()
            return self._table.look(db)

        while True:
            try:
                look = await database.run(work)
            except (DatabaseFullError, DatabaseBusyError) as error:
                self._wait_for(str(error))
                self._delayed = True
                await trio.sleep(_RETRY_S)
                if not watch.same_file():
                    return last
                continue
            if self._delayed:
                self._ready(Look(look.version, [], 0))
            return look

    async def _next_look(self, database: Database, watch: FileWatch, last: Look) -> Look:
        """Return a look at what came, or the same again after a while, or when files changed."""
        if await watch.changed(_LOOK_S):
            for pause_s in _PAUSES_S:
                await trio.sleep(pause_s)
                look = await database.run(self._table.look)
                if look.version != last.version or not watch.same_file():
                    return look
        return await database.run(self._table.look)

    async def _take(self, found: Sequence[SpoolRow]) -> bool:
        """Hand rows to intake. Returns whether they are durable, and may be deleted."""
        now = int(self._clock())
        events: list[Event] = []
        rows: list[SpoolRow] = []
        rejected: list[RejectedRow] = []
        for row in found:
            read = self._read(row, now)
            if isinstance(read, Rejection):
                rejected.append(RejectedRow(self._source, row, read))
            else:
                events.append(read)
                rows.append(row)
        try:
            if events:
                for row, event, result in zip(
                    rows, events, await self._intake.accept(events, self._source), strict=True
                ):
                    if refused := refusal(result, event.id):
                        rejected.append(RejectedRow(self._source, row, refused))
            if rejected:
                await self._intake.reject(rejected)
        except (DatabaseFullError, DatabaseBusyError) as error:
            # The rows stay where they are, and are the producers' until there is room.
            self._wait_for(f"the queue: {error}")
            self._delayed = True
            return False
        return True

    def _read(self, row: SpoolRow, now: int) -> Event | Rejection:
        if (key := row_key(row)) in self._at_work.poison:
            return POISON
        return self._at_work.call(key, event_from_row, row, self._defaults, now=now)

    def _explain(self, error: DatabaseError) -> str:
        path = self._config.path
        missing = not os.path.exists(path)  # noqa: PTH110 - Path.exists raises where it may not look
        if isinstance(error, DatabaseFailedError) and missing:
            return f"{path} is not there; `relayd spool create {path}` makes it"
        return str(error)

    def _wait_for(self, reason: str) -> None:
        if reason != self.waits_for:
            self._log.warning("spool_waiting", detail=reason)
        self.waits_for = reason

    def _ready(self, look: Look) -> None:
        if look.oversized:
            self._wait_for(f"{look.oversized} rows are larger than 16 MiB, and stay in the spool")
        elif self.waits_for is not None:
            self._log.info("spool_ready")
            self.waits_for = None
            self._delayed = False


def _barred(path: Path) -> list[str]:
    """Return what keeps this user out of a spool: a folder above it, its own, or its files."""
    for folder in reversed(path.parents):
        needed = os.X_OK | (os.R_OK | os.W_OK if folder == path.parent else 0)
        if not os.access(folder, needed):
            return [str(folder)] if os.path.lexists(folder) else []
    files = (str(path), f"{path}-wal", f"{path}-shm")
    return [each for each in files if os.access(each, os.F_OK) and not os.access(each, os.W_OK)]
