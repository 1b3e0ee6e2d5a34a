"""One spool: reads the rows that producers insert, hands them to intake, then deletes them.

All rows are read, never those past a mark: a lower explicit `seq` is possible, and a restored
backup brings old rows again, which are known by their ids. A row is deleted only when it is
durable in the queue, or in its rejected list; a crash between the two accepts nothing twice.

The file is somebody else's: it may be missing, locked, replaced or of another shape at any time.
The spool then says what it waits for, and goes on when it can.
"""

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

import structlog
import trio

from relayd.config.config import SpoolConfig
from relayd.core.acceptance import Acceptance, RejectedRow, conflict
from relayd.core.event import Event, EventDefaults, Rejection, SpoolRow, event_from_row
from relayd.database import (
    Database,
    DatabaseBusyError,
    DatabaseError,
    DatabaseFailedError,
    DatabaseFullError,
)
from relayd.sources.file_watch import FileWatch

_log = structlog.get_logger()

BATCH_ROWS = 500
BATCH_BYTES = 1024 * 1024
"""A hostile row takes 50 times its size while it is read: this bounds a batch's memory."""
ROW_BYTES = 16 * 1024 * 1024
"""A larger row is left where it is: there is no event in it, and it would not fit in memory."""

_RETRY_S = 1.0
_LOOK_S = 1.0  # how often to look without having been told of a change

_COLUMNS = frozenset({"seq", "id", "type", "data", "created", "market_id", "api_version"})

SPOOL_TABLE = """\
CREATE TABLE {table} (
  seq         INTEGER PRIMARY KEY AUTOINCREMENT,
  id          TEXT NOT NULL UNIQUE DEFAULT ('evt_' || lower(hex(randomblob(16)))),
  type        TEXT NOT NULL,
  data        TEXT NOT NULL CHECK (json_valid(data)),   -- a JSON object, usually {{"object": {{…}}}}
  created     INTEGER NOT NULL DEFAULT (CAST(strftime('%s', 'now') AS INTEGER)),
  market_id   TEXT,               -- NULL means the configuration's
  api_version TEXT                -- NULL means the configuration's
);
"""


class SpoolIntake(Protocol):
    """What a spool needs of intake. Each call returns once its rows are durable."""

    async def accept(self, events: Sequence[Event], source: str) -> Sequence[Acceptance]:
        """Accept events, in one transaction."""

    async def reject(self, rejected: Sequence[RejectedRow]) -> None:
        """Keep rows that cannot be events, with the reason."""


class SpoolUnusableError(Exception):
    """The file is there, and is no spool; says what would make it one."""


@dataclass(frozen=True, slots=True)
class _Batch:
    rows: list[SpoolRow]
    oversized: int


class Spool:
    """A source: one spool file. `waits_for` says what keeps it from being read, if anything."""

    def __init__(
        self, config: SpoolConfig, intake: SpoolIntake, clock: Callable[[], float]
    ) -> None:
        self._config = config
        self._intake = intake
        self._clock = clock
        self._source = f"spool {config.name}"
        self._defaults = EventDefaults(config.market_id, config.api_version)
        self._log = _log.bind(source=self._source, path=str(config.path))
        self.waits_for: str | None = None

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
                await database.run(self._check_table)
                yield database, watch

    async def _drain(self, database: Database, watch: FileWatch) -> None:
        """Take in all that is there, and what comes, until the file is replaced."""
        while watch.same_file():
            watch.forget_events()
            version = await database.run(_data_version)
            batch = await database.run(self._read_batch)
            if batch.rows:
                await self._take(database, batch)
                continue
            self._ready(batch)
            await watch.wait_for_commit(lambda: database.run(_data_version), version, _LOOK_S)
        self._log.info("spool_replaced")

    async def _take(self, database: Database, batch: _Batch) -> None:
        now = int(self._clock())
        events: list[Event] = []
        rows: list[SpoolRow] = []
        rejected: list[RejectedRow] = []
        for row in batch.rows:
            read = event_from_row(row, self._defaults, now=now)
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
                    if result is Acceptance.CONFLICT:
                        rejected.append(RejectedRow(self._source, row, conflict(event.id)))
            if rejected:
                await self._intake.reject(rejected)
        except (DatabaseFullError, DatabaseBusyError) as error:
            # The rows stay where they are, and are the producers' until there is room.
            self._wait_for(f"the queue: {error}")
            await trio.sleep(_RETRY_S)
            return
        await database.run(lambda db: self._delete(db, batch.rows))

    def _read_batch(self, db: sqlite3.Connection) -> _Batch:
        # Text is read as bytes, to tell invalid UTF-8 and NUL; the sizes first, to bound memory.
        table = _quoted(self._config.table)
        sizes = db.execute(
            f"SELECT seq, coalesce(length(CAST(data AS BLOB)), 0) FROM {table}"  # noqa: S608 - quoted
            " ORDER BY seq LIMIT ?",
            (BATCH_ROWS,),
        )
        wanted: list[int] = []
        total, oversized = 0, 0
        for seq, size in sizes:
            if size > ROW_BYTES:
                oversized += 1
                continue
            total += size
            if wanted and total > BATCH_BYTES:
                break
            wanted.append(seq)
        if not wanted:
            return _Batch([], oversized)
        columns = ", ".join(
            f"iif(typeof({name}) = 'text', CAST({name} AS BLOB), {name})"
            for name in ("id", "type", "data", "created", "market_id", "api_version")
        )
        rows = db.execute(
            f"SELECT seq, {columns} FROM {table} WHERE seq BETWEEN ? AND ?"  # noqa: S608 - quoted
            f" AND coalesce(length(CAST(data AS BLOB)), 0) <= {ROW_BYTES} ORDER BY seq",
            (wanted[0], wanted[-1]),
        )
        return _Batch([SpoolRow(*row) for row in rows], oversized)

    def _delete(self, db: sqlite3.Connection, rows: Sequence[SpoolRow]) -> None:
        # One statement, which is its own transaction: producers wait for no more than that. By
        # number and id: should the file have been replaced, another row keeps its place.
        table = _quoted(self._config.table)
        keys = [(row.seq, row.id.hex() if isinstance(row.id, bytes) else None) for row in rows]
        db.execute(
            f"DELETE FROM {table} WHERE seq IN ("  # noqa: S608 - quoted
            f"SELECT found.seq FROM json_each(?) AS row JOIN {table} AS found"
            " ON found.seq = row.value ->> 0"
            " WHERE row.value ->> 1 IS NULL OR lower(hex(found.id)) = row.value ->> 1)",
            (json.dumps(keys),),
        )

    def _check_table(self, db: sqlite3.Connection) -> None:
        table = self._config.table
        found = list(
            db.execute(
                "SELECT type, name FROM sqlite_schema WHERE lower(tbl_name) = lower(?)"
                " AND type IN ('table', 'view', 'trigger')",
                (table,),
            )
        )
        kinds = {kind for kind, _ in found}
        if kinds != {"table"}:
            reason = (
                f"there is no table {table}; `relayd spool sql` prints it"
                if not kinds & {"table", "view"}
                else f"{table} must be a plain table, without views or triggers of its own"
            )
            raise SpoolUnusableError(f"{self._config.path}: {reason}")
        columns = {name for _, name, *_ in db.execute(f"PRAGMA table_info({_quoted(table)})")}
        if missing := sorted(_COLUMNS - columns):
            raise SpoolUnusableError(
                f"{self._config.path}: table {table} lacks {', '.join(missing)}; "
                "`relayd spool sql` prints it as it must be"
            )

    def _explain(self, error: DatabaseError) -> str:
        path = self._config.path
        if isinstance(error, DatabaseFailedError) and not path.exists():
            return f"{path} is not there; `relayd spool create {path}` makes it"
        return str(error)

    def _wait_for(self, reason: str) -> None:
        if reason != self.waits_for:
            self._log.warning("spool_waiting", detail=reason)
        self.waits_for = reason

    def _ready(self, batch: _Batch) -> None:
        if batch.oversized:
            self._wait_for(f"{batch.oversized} rows are larger than 16 MiB, and stay in the spool")
        elif self.waits_for is not None:
            self._log.info("spool_ready")
            self.waits_for = None


def _data_version(db: sqlite3.Connection) -> int:
    """Return SQLite's count of other connections' commits."""
    [(version,)] = db.execute("PRAGMA data_version")
    return int(version)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
