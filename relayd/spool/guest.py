"""A guest in the market's database: when a spool is read, and when accepted rows are deleted.

Rows are deleted once they are confirmed, in one short statement. A lock that another connection
holds is waited for at most 50 ms; then the deletion is tried again later.
"""

import os
import sqlite3
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import quote

from relayd.core.event import SpoolRow
from relayd.spool.table import SpoolTable, SpoolUnusableError

_BUSY_S: Final = 0.05
_LOOK_S: Final = 1.0  # how often to look without a seen change

_PRAGMAS: Final = (
    # trusted_schema = OFF would be right for somebody else's file, but SQLite 3.40 then refuses the
    # table's own json_valid(). Triggers and views are refused instead, and there is no function
    # beyond SQLite's own to be called.
    "cell_size_check = ON",
    "cache_size = -4000",
    "temp_store = MEMORY",
    # A deletion need not be synced (the row would be known by its id), and a producer without a
    # busy timeout must not meet a lock that is held for a sync.
    "synchronous = NORMAL",
)

Key = int


@dataclass(frozen=True, slots=True)
class Row:
    """A row that has not been handed over. `key` names it in its table, `columns` are as found."""

    key: Key
    columns: SpoolRow = field(repr=False)


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the table found.

    `version` counts other connections' commits. `oversized` counts the rows that stay in the table
    because of their size.
    """

    version: int
    rows: list[Row] = field(repr=False)
    oversized: int


class Guest:
    """One spool, open. Not safe for threads.

    `undeleted` counts rows that are accepted and still in the table. `waits_for` says what keeps
    them there, if anything.
    """

    def __init__(
        self, path: Path, table: str, *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._path = path
        self._table = SpoolTable(path, table)
        self._clock = clock
        self._db: sqlite3.Connection | None = None
        self._handed_over: dict[Key, SpoolRow] = {}
        self._due: dict[Key, SpoolRow] = {}
        self._next_at = clock()
        self.waits_for: str | None = None

    @property
    def undeleted(self) -> int:
        """How many rows are accepted and not deleted yet."""
        return len(self._due)

    @property
    def connection(self) -> sqlite3.Connection:
        """The open connection, for a deadline on its statements."""
        assert self._db is not None
        return self._db

    def open(self) -> None:
        """Open the file and check the table.

        Raises `SpoolUnusableError`, `sqlite3.Error` or `OSError`; then it is not open.
        """
        if barred := _barred(self._path):
            # SQLite would open what it may only read, and make files beside it that then keep the
            # producers out.
            raise SpoolUnusableError(
                f"this user may not write to {', '.join(barred)}: relayd and the producers need a"
                f" group in common, which may write to {self._path} and in {self._path.parent}, and"
                " the folder must give it to its files (chmod g+rwxs); under systemd,"
                " ReadWritePaths= must name a folder outside of /var/lib/relayd"
            )
        db = sqlite3.connect(
            f"file:{quote(str(self._path))}?mode=rw",
            uri=True,
            isolation_level=None,
            timeout=_BUSY_S,
        )
        try:
            for pragma in _PRAGMAS:
                db.execute(f"PRAGMA {pragma}").fetchall()
            self._table.check(db)
        except BaseException:
            db.close()
            raise
        self._db = db

    def close(self) -> None:
        """Close the file; what was handed over is forgotten."""
        if self._db is not None:
            self._db.close()
            self._db = None
        self._handed_over.clear()
        self._due.clear()

    def look(self) -> Look:
        """Return rows that were not handed over yet, at most a batch. Raises as `open` does."""
        self._next_at = self._clock() + _LOOK_S
        self._table.check(self.connection)
        look = self._table.look(self.connection, self._handed_over)
        rows = [Row(row.seq, row) for row in look.rows]
        self._handed_over.update({row.key: row.columns for row in rows})
        return Look(look.version, rows, look.oversized)

    def confirm(self, keys: Sequence[Key]) -> None:
        """Note that rows are durable in the queue; they are deleted when it is polite."""
        for key in keys:
            if key in self._handed_over:
                self._due[key] = self._handed_over[key]
        self._next_at = self._clock()

    def tend(self) -> None:
        """Delete what is due to be deleted; wait for a lock for at most 50 ms."""
        if not self._due:
            return
        try:
            self._table.delete(self.connection, list(self._due.values()))
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            self.waits_for = "another process holds its lock"
            self._next_at = self._clock() + _LOOK_S
            return
        for key in self._due:
            self._handed_over.pop(key, None)
        self._due.clear()
        self.waits_for = None

    def next_at(self) -> float:
        """Return when to tend and look again without a seen change, by the clock."""
        return self._next_at


def _barred(path: Path) -> list[str]:
    """Return what keeps this user out of a spool: a folder above it, its own, or its files."""
    for folder in reversed(path.parents):
        needed = os.X_OK | (os.R_OK | os.W_OK if folder == path.parent else 0)
        if not os.access(folder, needed):
            return [str(folder)] if os.path.lexists(folder) else []
    files = (str(path), f"{path}-wal", f"{path}-shm")
    return [each for each in files if os.access(each, os.F_OK) and not os.access(each, os.W_OK)]
