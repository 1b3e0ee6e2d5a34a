"""The queue's SQLite file as trio tasks use it: whole transactions, never half of one.

aiosqlite runs on asyncio, whose loop has a thread of its own: `sqlite_loop` starts it once for the
process; nothing outside this file knows of it. What is passed to `write` and `run` is a plain
function over the `sqlite3` connection, which runs in aiosqlite's thread. That thread gets one
procedure for as long as the file is open, which takes the functions from a queue: so asyncio's loop
is needed to open and to close a file, and a call wakes the thread directly, and is woken by it.

A transaction takes one hop to that thread and back, not one for each of its statements. Under load
a hop waits for the event loop to come round: measured, a transaction of four statements took 8 ms
where its work took 0.4 ms. It also means that no transaction is ever open across an await: a
cancelled call runs and commits all the same, so each is shielded until it has.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any, Protocol, TypeVar

import aiosqlite
import outcome
import trio

from relayd.asyncio_thread import Reply, asyncio_thread, current_asyncio_thread
from relayd.core.queue_files import sqlite_uri
from relayd.file_identity import FilesInUse
from relayd.queue.interface import QueueBroken, QueueError, QueueUnavailable
from relayd.sqlite_errors import (
    damaged_in_words,
    in_words,
    is_busy,
    is_damaged,
    is_full,
    is_refused,
)

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
_Calls = SimpleQueue[Callable[[sqlite3.Connection], None] | None]
"""What to do with a connection, one call after the other; None ends it."""


class Reserve(Protocol):
    """Room on the disk that is kept for what must be written even when the disk is full.

    Both methods are called in SQLite's thread.
    """

    kept: bool
    """Whether the room is taken now."""

    def give_up(self) -> bool:
        """Free the room, and say whether there was any."""

    def keep(self) -> bool:
        """Take the room where it is not kept yet, and say whether it is now."""


def sqlite_loop() -> AbstractAsyncContextManager[object]:
    """Open what SQLite calls run on, once for the process, around all use of `Database`."""
    return asyncio_thread()


class Database:
    """An open SQLite file. One transaction at a time; callers wait their turn in order."""

    def __init__(
        self,
        path: Path,
        calls: _Calls,
        reserve: Reserve | None = None,
    ) -> None:
        self.path = path
        self._calls = calls
        self._reserve = reserve
        self._files = FilesInUse(path)
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
        reserve: Reserve | None = None,
    ) -> AsyncIterator["Database"]:
        """Open a file, and close it at the end even when cancelled.

        `pragmas` are run first, such as `synchronous=FULL`. `reserve` is given up when the disk is
        full, see `write`. Raises `QueueError` when the file is not there (unless `create`) or is no
        database.
        """
        thread = current_asyncio_thread()
        uri = sqlite_uri(str(path), "rwc" if create else "ro" if read_only else "rw")
        connecting = aiosqlite.connect(
            uri,
            uri=True,
            factory=_Connection,
            isolation_level=None,
            timeout=busy_timeout_s,
            cached_statements=256,
        )

        calls: _Calls = SimpleQueue()

        async def connect() -> tuple[aiosqlite.Connection, asyncio.Task[object]]:
            connection = await connecting
            serving = connection.create_function(_SERVE, 0, partial(_serve, calls))
            return connection, asyncio.get_running_loop().create_task(serving)

        try:
            connection, serving = await thread.run(connect)
        except sqlite3.Error as error:
            raise queue_error(path, error) from error

        async def close() -> None:
            await serving
            await connection.close()

        try:
            database = cls(path, calls, reserve)
            await database.set_pragmas(pragmas)
            yield database
        finally:
            # The worker thread is no daemon: left open, it would keep the process from ending.
            calls.put(None)
            await thread.run(close)

    async def write(self, work: Work[T], *, grows: bool = False) -> T:
        """Run `work` in one transaction that is committed, and synced, when this returns.

        BEGIN IMMEDIATE, since a deferred transaction that turns into a writer fails at once when
        another one wrote, whatever the timeout. Waiting for its turn can be cancelled, the
        transaction cannot. Raises `QueueError`; then nothing of it happened, or (where the file
        was moved away) it happened in a file that nobody reads any more.

        With a reserve, a transaction that finds the disk full runs once more with the reserve's
        room; one that `grows`, for which producers can wait, does not, and is refused until the
        room is kept again.
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
            if (moved := self._files.moved()) is not None:
                raise self._moved(moved)
            return result

        reserve = self._reserve
        if reserve is None:
            return await self._call(transaction)

        def within_the_reserve(db: sqlite3.Connection) -> T:
            if grows and not (reserve.kept or reserve.keep()):
                raise QueueUnavailable(self.path, "the disk is full")
            try:
                return transaction(db)
            except sqlite3.OperationalError as error:
                if grows or not is_full(error) or not reserve.give_up():
                    raise
            # What the WAL holds goes into the file first, which leaves the most room.
            db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            return transaction(db)

        return await self._call(within_the_reserve)

    async def run(self, work: Work[T]) -> T:
        """Run `work` with no transaction around it: each statement is one of its own.

        For what only reads, for pragmas, and for a single statement. Raises `QueueError`.
        """
        result = await self._call(work)
        # A connection that only reads would not know later that its -wal was moved away: what it
        # meets then, SQLite calls an I/O error.
        self._files.note_wal()
        return result

    async def set_pragmas(self, pragmas: tuple[str, ...]) -> None:
        """Run pragmas such as `synchronous = FULL`, in order. Raises `QueueError`."""

        def each(db: sqlite3.Connection) -> None:
            for pragma in pragmas:
                db.execute(f"PRAGMA {pragma}").fetchall()

        await self._call(each)

    async def _call(self, procedure: Work[T]) -> T:
        await self._take_turn()
        reply = Reply[T]()
        try:
            self._calls.put(lambda db: reply.give(outcome.capture(procedure, db)))
            return await reply.wait()
        except sqlite3.Error as error:
            translated = queue_error(self.path, error)
            # SQLite meets a file that was moved away as an I/O error, say.
            if isinstance(translated, QueueBroken) and (moved := self._files.moved()) is not None:
                raise self._moved(moved) from error
            raise translated from error
        finally:
            self._turn.release()

    def _moved(self, name: str) -> QueueBroken:
        return QueueBroken(
            self.path,
            f"{name} was moved, replaced or deleted while it was in use; put it back, with what"
            " belongs to it (-wal), before relayd starts again",
        )

    async def _take_turn(self) -> None:
        # `acquire` alone would let the event loop go round even where the lock is free.
        await trio.lowlevel.checkpoint_if_cancelled()
        try:
            self._turn.acquire_nowait()
        except trio.WouldBlock:
            await self._turn.acquire()


def queue_error(path: Path, error: sqlite3.Error) -> QueueError:
    """Return what an error of SQLite's means for the queue."""
    reason = in_words(error)
    # Another process holds the lock, or there is no room: both may be over later.
    if is_busy(error) or is_full(error):
        return QueueUnavailable(path, reason)
    # In relayd's own queue a value that is refused is a defect of relayd's: the file is sound.
    if is_refused(error):
        return QueueError(path, reason)
    if is_damaged(error):
        return QueueBroken(path, damaged_in_words(path, reason))
    # After a failed sync, say, nobody knows what is on the disk.
    return QueueBroken(path, reason, explained=False)


def _serve(calls: _Calls, db: sqlite3.Connection) -> None:
    while True:
        call = calls.get()
        if call is None:
            return
        call(db)
        del call  # what it holds may be large, and the next call may come late


_SERVE = "relayd_serve"
"""In place of a function's name: what is given is not made known to SQL, but called."""


class _Connection(sqlite3.Connection):
    """Calls a procedure where sqlite3 would make a function known to SQL.

    aiosqlite's `create_function` passes what it is given to this in its thread: so one call of it runs
    any number of statements, and `execute` is sqlite3's own.
    """

    def create_function(
        self,
        name: str,
        narg: int,
        func: Callable[..., Any] | None,
        /,
        *,
        deterministic: bool = False,
    ) -> None:
        if name == _SERVE:
            assert func is not None
            func(self)
        else:
            super().create_function(name, narg, func, deterministic=deterministic)
