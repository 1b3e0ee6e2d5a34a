"""The spool's table: how it is made, checked, read and emptied.

Everything here runs in a database's thread, one call a hop. The table is somebody else's, and so
may hold anything: text is read as bytes, to tell invalid UTF-8 and NUL, and memory is bounded.
"""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relayd.core.event import SpoolRow

BATCH_ROWS = 500
BATCH_BYTES = 1024 * 1024
"""A hostile row takes 50 times its size while it is read: this bounds a batch's memory."""
ROW_BYTES = 16 * 1024 * 1024
"""A larger row is left where it is: there is no event in it, and it would not fit in memory."""

_COLUMNS = ("seq", "id", "type", "data", "created", "market_id", "api_version")

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
        columns = ", ".join(
            f"iif(typeof({column}) = 'text', CAST({column} AS BLOB), {column})"
            for column in _COLUMNS[1:]
        )
        size = "coalesce(length(CAST(data AS BLOB)), 0)"
        self._select = (
            f"SELECT {size}, seq, {columns} FROM {self._table}"  # noqa: S608 - quoted
            f" WHERE {size} <= {ROW_BYTES} ORDER BY seq LIMIT {BATCH_ROWS}"
        )
        self._count_oversized = f"SELECT count(*) FROM {self._table} WHERE {size} > {ROW_BYTES}"  # noqa: S608 - quoted
        self._delete = (
            f"DELETE FROM {self._table} WHERE seq IN ("  # noqa: S608 - quoted
            f"SELECT found.seq FROM json_each(?) AS row JOIN {self._table} AS found"
            " ON found.seq = row.value ->> 0"
            " WHERE row.value ->> 1 IS NULL OR lower(hex(found.id)) = row.value ->> 1)"
        )

    def check(self, db: sqlite3.Connection) -> None:
        """Raise `SpoolUnusableError` unless the table is what producers and relayd agree on."""
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

    def look(self, db: sqlite3.Connection) -> Look:
        """Return the first rows, all of them that fit in a batch."""
        version = data_version(db)
        rows: list[SpoolRow] = []
        total = 0
        for size, *values in db.execute(self._select):
            total += size
            if rows and total > BATCH_BYTES:
                break
            rows.append(SpoolRow(*values))
        oversized = 0 if rows else db.execute(self._count_oversized).fetchone()[0]
        return Look(version, rows, oversized)

    def delete_and_look(self, db: sqlite3.Connection, rows: Sequence[SpoolRow]) -> Look:
        """Delete rows that were taken in, and return the next ones.

        The deletion is one statement, which is its own transaction: producers wait for no more
        than that. By number and id: should the file have been replaced, another row keeps its
        place.
        """
        keys = [(row.seq, row.id.hex() if isinstance(row.id, bytes) else None) for row in rows]
        db.execute(self._delete, (json.dumps(keys),))
        return self.look(db)

    def _refuse(self, reason: str) -> None:
        raise SpoolUnusableError(f"{self._path}: {reason}")


def data_version(db: sqlite3.Connection) -> int:
    """Return SQLite's count of other connections' commits."""
    [(version,)] = db.execute("PRAGMA data_version")
    return int(version)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
