"""The rows of a spool that were handed over: which of them may be deleted, and how that is done.

They are deleted when `Manners` says so, in one short transaction. No lock is held while another one
is waited for, except that the COMMIT of a database with a rollback journal waits for readers, which
keeps new ones out: for some milliseconds, only when deletion is overdue, at most once a second.
"""

import sqlite3
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Final

from relayd.spool.connection import GuestConnection
from relayd.spool.manners import MANY, Manners
from relayd.spool.references import refusal_words, trigger_words
from relayd.spool.rows import Found, Place, SpoolRows
from relayd.sqlite_errors import NOT_UTF_8, is_busy

_STATEMENT_S: Final = 0.5
"""A deletion's deadline, while the market's writers wait for it."""
_TRANSACTION_S: Final = 0.008
_LONG_TRANSACTION_S: Final = 0.1
"""No further row is deleted in a transaction after so long; the second where MANY are due."""
_QUICK_S: Final = 0.002
"""How long a lock is tried for: a few attempts."""
_COMMIT_PATIENCE_S: Final = 0.02
"""With a rollback journal, new readers are kept out while COMMIT waits for those that are in."""
_WAL_BYTES: Final = 4 * 1024 * 1024
_LARGE_WAL_BYTES: Final = 40 * 1024 * 1024
"""A longer WAL is written back to the file: when nobody writes, and in any case."""
_REFUSED_S: Final = 60.0
"""A row whose deletion was refused is tried again after so long."""
_FIRST_PAUSE_S: Final = 1.0
_LONGEST_PAUSE_S: Final = 60.0
"""Between two attempts while deletion fails."""

_BROKEN: Final = {
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
}


class Deletion:
    """The rows that were handed over through one connection.

    `trouble` says in words why rows stay in the table for longer than is usual, if they do.
    """

    def __init__(
        self,
        connection: GuestConnection,
        rows: SpoolRows,
        clock: Callable[[], float],
        keys: Iterator[int],
    ) -> None:
        self._connection = connection
        self._table = rows
        self._clock = clock
        self.manners = Manners()
        self.trouble: str | None = None
        self.places: dict[Place, int] = {}
        """Keys of all rows that were handed over and not deleted, by their places."""
        self._rows: dict[int, tuple[Place, int]] = {}
        """Their places and digests, by key."""
        self._due: dict[int, None] = {}
        """Keys of rows that may be deleted, in order."""
        self._refused: dict[int, None] = {}
        """Keys of rows that may be deleted, and whose deletion was refused."""
        self._refused_until = float("inf")
        self._refused_by: sqlite3.Error | None = None
        self._refusal = ""
        self._one_by_one = False
        self._pause_s = _FIRST_PAUSE_S
        self._keys = keys

    def hand_over(self, found: Found) -> int:
        """Note a row that is handed over, and return its key."""
        key = next(self._keys)
        self.places[found.place] = key
        self._rows[key] = (found.place, found.digest)
        return key

    def confirm(self, keys: Sequence[int]) -> None:
        """Note rows that may be deleted."""
        for key in keys:
            if key in self._rows and key not in self._refused:
                self._due[key] = None
        if self._due:
            self.manners.due(self._clock())

    @property
    def undeleted(self) -> int:
        """How many rows may be deleted and are still in the table."""
        return len(self._due) + len(self._refused)

    def is_due(self) -> bool:
        """Whether there is something to delete, when it is polite."""
        now = self._clock()
        if now >= self._refused_until:
            self._due.update(self._refused)
            self._refused.clear()
            self._refused_until = float("inf")
            self.manners.due(now)
        return bool(self._due)

    def next_at(self) -> float:
        """Return when to ask again, if others do not commit before."""
        return min(self._refused_until, self.manners.next_at if self._due else float("inf"))

    def run(self, schema: int, *, fresh: bool) -> bool:
        """Delete what is due, if it is polite now; return whether anything changed in the table.

        `schema` is the version of the schema that was checked: nothing is deleted under another
        one. `fresh`: others have committed only just now. Raises `SpoolUnusableError` and
        `sqlite3.Error` for a file that was replaced or is broken.
        """
        now = self._clock()
        if not self._due or not self.manners.may_delete(now, len(self._due), fresh=fresh):
            return False
        self._connection.check_file()
        try:
            changed = self._delete_due(now, schema)
        except (sqlite3.Error, MemoryError) as error:
            self._note_failure(error)
            return False
        except UnicodeDecodeError:
            # As a trigger of another table may raise it.
            self._give_up_for_a_while(now, f"an error {NOT_UTF_8}")
            return False
        if self.manners.next_at <= self._clock():
            self._pause_s = _FIRST_PAUSE_S
            self.trouble = self._refusal if self._refused else None
        return changed

    def _delete_due(self, now: float, schema: int) -> bool:
        if not self._one_by_one:
            return self._transaction(len(self._due), schema)
        changed = False
        while self._due and self._clock() < now + _TRANSACTION_S:
            changed |= self._transaction(1, schema)
        self._one_by_one = bool(self._due)
        return changed

    def _transaction(self, limit: int, schema: int) -> bool:
        """Delete at most `limit` rows in one transaction. Returns whether it was committed."""
        connection, db = self._connection, self._connection.db
        overdue_s = self.manners.patience_s(self._clock())
        # In WAL mode a commit without a sync cannot damage the file: after a loss of power rows
        # are there again, and are known by their ids. With a rollback journal it might.
        db.execute(f"PRAGMA synchronous = {'NORMAL' if connection.is_wal() else 'FULL'}")
        with connection.transaction():
            self._lock("BEGIN IMMEDIATE", max(overdue_s, _QUICK_S))
            if connection.schema_version() != schema:
                return False
            began = self._clock()
            done, refused = self._delete_rows(limit)
            try:
                if db.in_transaction:
                    self._lock("COMMIT", _COMMIT_PATIENCE_S if overdue_s else 0.0)
                else:
                    done = []  # a trigger of another table has rolled it back
            except sqlite3.IntegrityError as error:
                # A deferred foreign key: SQLite does not say for which row.
                self._refused_by = error
                if len(done) > 1:
                    self._one_by_one = True
                    return False
                done, refused = [], [*done, *refused]
        self._explain_refusal()
        self._forget(done)
        self._put_aside(refused)
        now = self._clock()
        self.manners.deleted(now, rest=bool(self._due))
        if self._due and now - began > _STATEMENT_S:
            self._note_slowness(now)
            return True
        connection.write_back_wal(_WAL_BYTES if self.manners.is_quiet(now) else _LARGE_WAL_BYTES)
        return True

    def _lock(self, statement: str, patience_s: float) -> None:
        try:
            self._connection.patiently(lambda db: db.execute(statement), patience_s)
        except sqlite3.OperationalError as error:
            if is_busy(error):
                self.manners.lock_refused(self._clock(), commit=statement == "COMMIT")
            raise

    def _delete_rows(self, limit: int) -> tuple[list[int], list[int]]:
        """Delete within a transaction. Returns the keys that were deleted, and refused."""
        connection, done, refused = self._connection, list[int](), list[int]()
        began = self._clock()
        duration_s = _LONG_TRANSACTION_S if len(self._due) >= MANY else _TRANSACTION_S
        for key in islice(self._due, limit):
            if self._clock() - began > duration_s:
                break
            connection.set_deadline(_STATEMENT_S)
            try:
                self._table.delete(*self._rows[key])
            except sqlite3.Error as error:
                if not _is_about_the_row(error):
                    raise
                self._refused_by = error
                refused.append(key)
                if not connection.db.in_transaction:
                    break
            else:
                done.append(key)
        connection.set_deadline(_STATEMENT_S)
        return done, refused

    def _forget(self, keys: Collection[int]) -> None:
        for key in keys:
            place, _ = self._rows.pop(key)
            del self._due[key]
            # A damaged file may have shown one place twice.
            if self.places.get(place) == key:
                del self.places[place]

    def _put_aside(self, keys: Collection[int]) -> None:
        for key in keys:
            del self._due[key]
            self._refused[key] = None
        if keys:
            self._refused_until = self._clock() + _REFUSED_S

    def _explain_refusal(self) -> None:
        """Put why a deletion was refused in words, when no lock is held any more."""
        error, self._refused_by = self._refused_by, None
        if error is None:
            return
        self._refusal = f"accepted rows stay in the table, since deleting them fails: {error}"
        if hint := self._asked(lambda db: refusal_words(db, self._table.name, error)):
            self._refusal += f"; {hint}"

    def _asked(self, question: Callable[[sqlite3.Connection], str]) -> str:
        """Return what the schema says, or nothing where it cannot be read now."""
        with self._connection.transaction(), suppress(sqlite3.Error):
            self._connection.set_deadline(_STATEMENT_S)
            return question(self._connection.db)
        return ""

    def _note_failure(self, error: sqlite3.Error | MemoryError) -> None:
        code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_NOMEM)
        now = self._clock()
        if isinstance(error, sqlite3.Error) and is_busy(error):
            if self.manners.patience_s(now):
                self.trouble = (
                    f"another process holds its lock: {self.undeleted} accepted rows wait to be "
                    "deleted"
                )
            return
        if code & 0xFF in _BROKEN:
            raise error
        if code == sqlite3.SQLITE_INTERRUPT:
            self._note_slowness(now)
        else:
            self._give_up_for_a_while(
                now, "not enough memory" if code == sqlite3.SQLITE_NOMEM else str(error)
            )

    def _note_slowness(self, now: float) -> None:
        computing = self._table.shape.computing
        if computing:
            hint = f"drop the index {', '.join(computing)}"
        else:
            hint = "tables that refer to it need an index on the reference"
            if triggers := self._asked(lambda db: trigger_words(db, self._table.name)):
                hint += f", and {triggers} must be quick"
        self._give_up_for_a_while(now, f"it takes longer than {_STATEMENT_S:g} s; {hint}")

    def _give_up_for_a_while(self, now: float, reason: str) -> None:
        self.trouble = f"{self.undeleted} accepted rows cannot be deleted: {reason}"
        self.manners.failed(now, self._pause_s)
        self._pause_s = min(2 * self._pause_s, _LONGEST_PAUSE_S)


def _is_about_the_row(error: sqlite3.Error) -> bool:
    """Whether a deletion failed because of the row, so that others may succeed."""
    return error.sqlite_errorcode & 0xFF in {
        sqlite3.SQLITE_ERROR,
        sqlite3.SQLITE_CONSTRAINT,
        sqlite3.SQLITE_TOOBIG,
    }
