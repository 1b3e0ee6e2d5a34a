"""One SQLite file as trio tasks use it: whole transactions, never half of one.

aiosqlite runs on asyncio. It is used through trio-asyncio's loop, which `sqlite_loop` opens once
for the process; nothing outside this file knows of it. What is passed to `write` and `run` is a
plain function over the `sqlite3` connection, which runs in aiosqlite's thread.

A transaction takes one hop to that thread and back, not one for each of its statements. Under load
a hop waits for the event loop to come round: measured, a transaction of four statements took 8 ms
where its work took 0.4 ms. It also means that no transaction is ever open across an await: a
cancelled call runs and commits all the same, so each is shielded until it has.
"""

import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Generic, TypeVar
from urllib.parse import quote

import aiosqlite
import trio
import trio_asyncio

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]


class DatabaseError(Exception):
    """SQLite could not do what was asked of a file; nothing of the transaction happened."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class DatabaseBusyError(DatabaseError):
    """Another process holds the file's lock. It may be tried again."""


class DatabaseFullError(DatabaseError):
    """No room is left on the disk. It may be tried again once there is."""


class DatabaseFailedError(DatabaseError):
    """The file or its disk is broken, or the file is no longer what it was.

    Never tried again: after a failed sync nobody knows what is on the disk.
    """


_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}


def _translated(path: Path, error: sqlite3.Error) -> DatabaseError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    name = getattr(error, "sqlite_errorname", "")
    if code in _BUSY:
        return DatabaseBusyError(path, "another process holds its lock")
    if code == sqlite3.SQLITE_FULL:
        return DatabaseFullError(path, "the disk is full")
    reason = f"{error} ({name})" if name else str(error)
    return DatabaseFailedError(path, reason)


def sqlite_loop() -> AbstractAsyncContextManager[object]:
    """Open what SQLite calls run on, once for the process, around all use of `Database`."""
    opening: AbstractAsyncContextManager[object] = trio_asyncio.open_loop()
    return opening


class Database:
    """An open SQLite file. One transaction at a time; callers wait their turn in order."""

    def __init__(self, path: Path, connection: aiosqlite.Connection) -> None:
        self.path = path
        self._connection = connection
        self._turn = trio.Lock()

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        pragmas: tuple[str, ...] = (),
        create: bool = False,
        read_only: bool = False,
        busy_timeout_s: float = 5.0,
    ) -> AsyncIterator["Database"]:
        """Open a file, and close it at the end even when cancelled.

        `pragmas` are run first, such as `synchronous=FULL`. Raises `DatabaseError` when the file
        is not there (unless `create`) or is no database.
        """
        mode = "rwc" if create else "ro" if read_only else "rw"
        uri = f"file:{quote(str(path))}?mode={mode}"
        connecting = aiosqlite.connect(
            uri,
            uri=True,
            factory=_Connection,
            isolation_level=None,
            timeout=busy_timeout_s,
            cached_statements=256,
        )

        async def connect() -> aiosqlite.Connection:
            return await connecting

        try:
            with trio.CancelScope(shield=True):
                connection = await trio_asyncio.aio_as_trio(connect)()
        except sqlite3.Error as error:
            raise _translated(path, error) from error
        try:
            database = cls(path, connection)
            await database.set_pragmas(pragmas)
            yield database
        finally:
            # The worker thread is no daemon: left open, it would keep the process from ending.
            with trio.CancelScope(shield=True):
                await trio_asyncio.aio_as_trio(connection.close)()

    async def write(self, work: Work[T]) -> T:
        """Run `work` in one transaction that is committed, and synced, when this returns.

        BEGIN IMMEDIATE, since a deferred transaction that turns into a writer fails at once when
        another one wrote, whatever the timeout. Waiting for its turn can be cancelled, the
        transaction cannot. Raises `DatabaseError`; then nothing of it happened.
        """

        def transaction(db: sqlite3.Connection) -> T:
            db.execute("BEGIN IMMEDIATE")
            try:
                result = work(db)
                db.execute("COMMIT")
            except BaseException:
                # Some errors (a full disk among them) have rolled back already.
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise
            return result

        return await self._call(transaction)

    async def run(self, work: Work[T]) -> T:
        """Run `work` with no transaction around it: each statement is one of its own.

        For what only reads, for pragmas, and for a single statement. Raises `DatabaseError`.
        """
        return await self._call(work)

    async def set_pragmas(self, pragmas: tuple[str, ...]) -> None:
        """Run pragmas such as `synchronous = FULL`, in order. Raises `DatabaseError`."""

        def each(db: sqlite3.Connection) -> None:
            for pragma in pragmas:
                db.execute(f"PRAGMA {pragma}").fetchall()

        await self.run(each)

    async def _call(self, procedure: Work[T]) -> T:
        async with self._turn:
            with trio.CancelScope(shield=True):
                try:
                    result: T = await trio_asyncio.aio_as_trio(self._connection.execute_fetchall)(
                        _PROCEDURE, (procedure,)
                    )
                except sqlite3.Error as error:
                    raise _translated(self.path, error) from error
        return result


_PROCEDURE = "-- a whole procedure, which stands in its parameters"


class _Connection(sqlite3.Connection):
    """Runs a procedure where sqlite3 would run one statement.

    aiosqlite's `execute_fetchall` calls `execute(...).fetchall()` in its thread: so one call of it
    runs any number of statements.
    """

    def execute(self, sql: str, parameters: Any = (), /) -> Any:  # noqa: ANN401 - see above
        if sql is _PROCEDURE:
            return _Result(parameters[0](self))
        return super().execute(sql, parameters)


class _Result(Generic[T]):
    def __init__(self, value: T) -> None:
        self._value = value

    def fetchall(self) -> T:
        return self._value
