"""The spool's table: how it is made, checked, read and emptied.

Everything here runs in a database's thread, one call a hop. The table is somebody else's, and so
may hold anything: text is read as bytes, to tell invalid UTF-8 and NUL, and memory is bounded.
"""

import json
import sqlite3
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from relayd.core.event import SpoolRow

BATCH_ROWS = 500
BATCH_BYTES = 1024 * 1024
"""A hostile row takes 50 times its size while it is read: this bounds a batch's memory."""
ROW_BYTES = 16 * 1024 * 1024
"""A larger row is left where it is: there is no event in it, and it would not fit in memory."""

_COLUMNS = ("seq", "id", "type", "data", "created", "market_id", "api_version")
_TEXTS = ("data", "id", "type", "market_id", "api_version")

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


class SpoolUnusableError(Exception):
    """The file is there, and is no spool; says what would make it one."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the table found.

    `version` counts other connections' commits: a look that finds another one may find other rows.
    `oversized` counts the rows that are left in the table because of their size, where no other
    row is there.
    """

    version: int
    rows: list[SpoolRow] = field(repr=False)
    oversized: int


class SpoolTable:
    """A spool's table, by its file and its name."""

    def __init__(self, path: Path, name: str) -> None:
        self._path = path
        self._name = name
        self._table = _quoted(name)
        self._oversized: set[int] = set()
        """Numbers of rows that were found too large, and are passed over."""
        columns = ", ".join(
            f"iif(typeof({column}) = 'text', CAST({column} AS BLOB), {column})"
            for column in _COLUMNS[1:]
        )
        size = " + ".join(f"coalesce(length(CAST({column} AS BLOB)), 0)" for column in _TEXTS)
        self._select = (
            f"SELECT {size}, seq, {columns} FROM {self._table}"  # noqa: S608 - quoted
            f" WHERE seq NOT IN (SELECT value FROM json_each(?)) ORDER BY seq LIMIT {BATCH_ROWS}"
        )
        self._numbers = f"SELECT seq FROM {self._table} ORDER BY seq"  # noqa: S608 - quoted
        self._delete = (
            f"DELETE FROM {self._table} WHERE seq IN ("  # noqa: S608 - quoted
            f"SELECT found.seq FROM json_each(?) AS row JOIN {self._table} AS found"
            " ON found.seq = row.value ->> 0"
            " WHERE row.value ->> 1 IS NULL OR lower(hex(found.id)) = row.value ->> 1)"
        )

    def check(self, db: sqlite3.Connection) -> None:
        """Raise `SpoolUnusableError` unless the table is what producers and relayd agree on."""
        # To learn a text's size, SQLite loads it. A larger value is now an error instead.
        db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, ROW_BYTES)
        found = db.execute(
            "SELECT type FROM sqlite_schema WHERE lower(tbl_name) = lower(?)"
            " AND type IN ('table', 'view', 'trigger')",
            (self._name,),
        )
        kinds = {kind for (kind,) in found}
        if not kinds & {"table", "view"}:
            self._refuse(f"there is no table {self._name}; `relayd spool sql` prints it")
        if kinds != {"table"}:
            self._refuse(f"{self._name} must be a plain table, without views or triggers")
        columns = {name for _, name, *_ in db.execute(f"PRAGMA table_info({self._table})")}
        if missing := [column for column in _COLUMNS if column not in columns]:
            self._refuse(
                f"table {self._name} lacks {', '.join(missing)}; "
                "`relayd spool sql` prints it as it must be"
            )

    def look(self, db: sqlite3.Connection, passed_over: Collection[int] = ()) -> Look:
        """Return the first rows that are not `passed_over`, all of them that fit in a batch."""
        version = _data_version(db)
        while True:
            known = frozenset(self._oversized)
            try:
                rows = self._read(db, passed_over)
            except sqlite3.DataError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_TOOBIG:
                    raise
                rows = []
                self._find_oversized(db)
                if self._oversized == known:
                    raise
            if not rows:
                # They may have been mended, or taken away.
                self._oversized = {seq for seq in self._oversized if self._is_oversized(db, seq)}
            if rows or self._oversized == known:
                return Look(version, rows, 0 if rows else len(self._oversized))

    def _read(self, db: sqlite3.Connection, passed_over: Collection[int]) -> list[SpoolRow]:
        rows: list[SpoolRow] = []
        total = 0
        for size, *values in db.execute(
            self._select, (json.dumps([*self._oversized, *passed_over]),)
        ):
            if size > ROW_BYTES:  # its columns together
                self._oversized.add(values[0])
                continue
            total += size
            if rows and total > BATCH_BYTES:
                break
            rows.append(SpoolRow(*values))
        return rows

    def _find_oversized(self, db: sqlite3.Connection) -> None:
        """Find the rows that are too large before the next batch of others."""
        others = 0
        for (seq,) in db.execute(self._numbers):
            if seq in self._oversized or self._is_oversized(db, seq):
                self._oversized.add(seq)
                continue
            others += 1
            if others == BATCH_ROWS:
                return

    def _is_oversized(self, db: sqlite3.Connection, seq: int) -> bool:
        """Tell a row's size without loading it."""
        size = 0
        for column in _TEXTS:
            # No such row any more, or a value that is neither text nor bytes.
            with (
                suppress(sqlite3.OperationalError),
                db.blobopen(self._name, column, seq, readonly=True) as blob,
            ):
                size += len(blob)
        return size > ROW_BYTES

    def delete(self, db: sqlite3.Connection, rows: Sequence[SpoolRow]) -> None:
        """Delete rows that are durable in the queue.

        The deletion is one statement, which is its own transaction: producers wait for no more
        than that. By number and id: should the file have been replaced, another row keeps its
        place.
        """
        keys = [
            (row.seq, row.id.hex() if isinstance(row.id, bytes) and len(row.id) < 1024 else None)
            for row in rows
        ]
        db.execute(self._delete, (json.dumps(keys),))

    def _refuse(self, reason: str) -> None:
        raise SpoolUnusableError(f"{self._path}: {reason}")


def _data_version(db: sqlite3.Connection) -> int:
    """Return SQLite's count of other connections' commits."""
    [(version,)] = db.execute("PRAGMA data_version")
    return int(version)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
