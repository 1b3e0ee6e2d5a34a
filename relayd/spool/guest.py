"""A guest in the market's database: reads a spool's rows, and deletes the accepted ones politely.

A row is handed over once, however long its deletion takes. Reading goes on behind the last row that
was handed over; all rows are read after a deletion, after a change of the schema, and every 5 s:
VACUUM may renumber them, a restored backup brings old ones again, and a lower explicit `seq` is
possible. A table WITHOUT ROWID is read whole each time.

It runs in a process of its own, in one thread.
"""

import sqlite3
import time
from collections.abc import Callable, Collection, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Final

from relayd.core.event import SpoolRow
from relayd.core.value import value
from relayd.spool.connection import STATEMENT_S, GuestConnection
from relayd.spool.deletion import Deletion
from relayd.spool.rows import FIRST, Place, SpoolRows
from relayd.spool.table import SpoolUnusableError
from relayd.sqlite_errors import is_busy

MAX_UNDELETED: Final = 20_000
"""With so many accepted rows in the table no others are handed over: this bounds memory."""

_LOOK_S: Final = 1.0
"""How often to look without a seen change."""
_BUSY_S: Final = 0.05
"""When to look again after the file was busy."""
_ALL_S: Final = 5.0
"""How often all rows are read."""
_FRESH_S: Final = 0.002
"""A commit that was not there so long ago, and is now, has only just happened."""

Key = int


@value
class Row:
    """A row that has not been handed over. `key` names it for `confirm`, `columns` are as found."""

    key: Key
    columns: SpoolRow = field(repr=False)


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the table found.

    `version` counts other connections' commits. `oversized` counts the rows that stay in the table
    because of their size. `more`: the batch is full, and there may be others.
    """

    version: int
    rows: list[Row] = field(repr=False)
    oversized: int
    more: bool


class Guest:
    """One spool. Rows that were handed over are forgotten when it is closed.

    The methods of an open one raise `SpoolUnusableError`, or `sqlite3.Error` for a file that is
    broken; then it is to be closed. A busy file is not an error.
    """

    def __init__(
        self,
        path: Path,
        table: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        statement_s: float = STATEMENT_S,
    ) -> None:
        self._path = path
        self._name = table
        self._clock = clock
        self._statement_s = statement_s
        # Never the same one again: a row is not confirmed by what was said of an earlier opening's.
        self._keys = count(1)
        self._open: _Open | None = None

    @property
    def undeleted(self) -> int:
        """How many rows are accepted and not deleted yet."""
        return self._open.deletion.undeleted if self._open else 0

    @property
    def waits_for(self) -> str | None:
        """What keeps rows from being read or deleted, in words; None when all is as it should be."""
        return self._open.waits_for if self._open else None

    def open(self) -> None:
        """Open the file and check the table.

        Raises `SpoolUnusableError`, `sqlite3.Error` or `OSError`; then it is not open.
        """
        self.close()
        connection = GuestConnection(self._path, self._clock)
        try:
            opened = _Open(connection, self._name, self._clock, self._statement_s, self._keys)
            opened.check()
        except BaseException:
            connection.close()
            raise
        self._open = opened

    def close(self) -> None:
        """Close the file."""
        opened, self._open = self._open, None
        if opened is not None:
            opened.connection.close()

    def look(self, *, stirred: bool = False) -> Look:
        """Return rows that were not handed over yet, at most a batch.

        Where nothing has changed it costs about 10 µs. `stirred` says that another process has
        touched the file just now.
        """
        return self._opened().look(stirred)

    def confirm(self, keys: Sequence[Key]) -> None:
        """Note that rows are durable in the queue; they are deleted when it is polite."""
        if self._open is not None:
            self._open.deletion.confirm(keys)

    def tend(self, *, stirred: bool = False) -> None:
        """Delete what is due to be deleted, if it is polite now; wait for a lock at most 50 ms."""
        self._opened().tend(stirred)

    def next_at(self) -> float:
        """Return when to tend and look again without a seen change, by the clock."""
        return self._opened().next_at()

    def _opened(self) -> "_Open":
        assert self._open is not None, "the guest is not open"
        return self._open


class _Open:
    """An open spool: what is known of its rows."""

    def __init__(
        self,
        connection: GuestConnection,
        table: str,
        clock: Callable[[], float],
        statement_s: float,
        keys: Iterator[int],
    ) -> None:
        self.connection = connection
        self._table = SpoolRows(connection.path, table, connection.db)
        self.deletion = Deletion(connection, self._table, clock, keys)
        self._clock = clock
        self._statement_s = statement_s
        self._schema = self._version = -1
        self._polled_at = self._fresh_at = float("-inf")
        self._first = FIRST  # from which rowid on to read
        self._more = True  # there may be rows that were not read yet
        self._all_at = self._look_at = float("-inf")
        self._oversized: set[Place] = set()
        self._oversized_rows = 0
        self._is_locked = False

    @property
    def waits_for(self) -> str | None:
        if self._is_locked:
            return "another process holds its lock"
        trouble, undeleted = self.deletion.trouble, self.deletion.undeleted
        if undeleted < MAX_UNDELETED:
            return trouble
        return (
            f"{undeleted} accepted rows are still in the table, and no others are read before they "
            f"are deleted: {trouble or 'that is about to happen'}"
        )

    def check(self) -> None:
        """Check the table, whatever is known of it."""
        with self._reading():
            pass

    def look(self, stirred: bool) -> Look:
        now = self._clock()
        self._look_at = now + _LOOK_S
        self.connection.check_file()
        rows: list[Row] = []
        try:
            self._poll(now, stirred)
            self._delete(now)
            if now >= self._all_at:
                self._read_all()
            if self._more and self.deletion.undeleted < MAX_UNDELETED:
                rows = self._read()
            self._is_locked = False
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            self._is_locked = True
            self._look_at = now + _BUSY_S
        return Look(self._version, rows, self._oversized_rows, self._more)

    def tend(self, stirred: bool) -> None:
        if not self.deletion.is_due():
            return
        now = self._clock()
        try:
            self._poll(now, stirred)
        except sqlite3.OperationalError as error:
            if not is_busy(error):
                raise
            self.deletion.manners.commit_seen(now)
        self._delete(now)

    def next_at(self) -> float:
        if self._is_locked:
            return self._look_at
        return min(self._look_at, self.deletion.next_at())

    def _poll(self, now: float, stirred: bool) -> None:
        """Look for commits of other connections."""
        version = self.connection.data_version()
        recently, self._polled_at = now - self._polled_at <= _FRESH_S, now
        if version != self._version:
            if self._version != -1:
                self.deletion.manners.commit_seen(now)
                if stirred or recently:
                    self._fresh_at = now
            self._version = version
            self._more = True

    def _delete(self, now: float) -> None:
        fresh = now - self._fresh_at <= _FRESH_S
        if self.deletion.run(self._schema, fresh=fresh):
            self._read_all()

    def _read_all(self) -> None:
        """Read from the first row on; what was too large may have been changed or deleted."""
        self._first, self._more = FIRST, True
        self._oversized.clear()
        self._all_at = self._clock() + _ALL_S

    def _read(self) -> list[Row]:
        known = _Known(self.deletion.places, self._oversized)
        with self._reading():
            batch = self._table.read(known, self._first)
        self._oversized.update(batch.oversized)
        self._more = batch.more
        if not batch.more:
            self._oversized_rows = len(self._oversized) + batch.unnamed
        if self._table.shape.has_rowid and batch.rows:
            last = batch.rows[-1].place
            assert isinstance(last, int)
            self._first = max(self._first, last)
        return [Row(self.deletion.hand_over(found), found.columns) for found in batch.rows]

    @contextmanager
    def _reading(self) -> Generator[None, None, None]:
        """Read in one transaction: what is read has the shape that was checked, and the version."""
        connection = self.connection
        with connection.transaction():
            connection.set_deadline(self._statement_s)
            connection.db.execute("BEGIN")
            version, schema = connection.data_version(), connection.schema_version()
            try:
                if schema != self._schema:
                    self._table.check()
                    self._schema = schema
                    self._read_all()
                yield
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_INTERRUPT:
                    raise
                raise SpoolUnusableError(
                    f"{connection.path}: reading its table takes longer than "
                    f"{self._statement_s:g} s; are there columns that are computed?"
                ) from error
        if version != self._version:
            if self._version != -1:
                self.deletion.manners.commit_seen(self._clock())
            self._version = version


class _Known:
    """The places of rows that are not to be read again."""

    def __init__(self, *parts: Collection[Place]) -> None:
        self._parts = parts

    def __contains__(self, place: object) -> bool:
        return any(place in part for part in self._parts)
