"""One SQLite file, as trio tasks and other programs use it at the same time."""

import gc
import sqlite3
import threading
import time
import weakref
from contextlib import closing
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from relayd.database import Database, sqlite_loop
from relayd.queue.interface import QueueBroken, QueueUnavailable


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "some.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE things (id INTEGER PRIMARY KEY)")
    return path


def count(db: sqlite3.Connection) -> int:
    [(number,)] = db.execute("SELECT count(*) FROM things")
    return int(number)


def add(db: sqlite3.Connection) -> int:
    """Read, then write: what a deferred transaction cannot do beside another writer."""
    number = count(db)
    db.execute("INSERT INTO things DEFAULT VALUES")
    return number


def hold_lock(path: Path, locked: threading.Event, seconds: float) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO things DEFAULT VALUES")
        locked.set()
        time.sleep(seconds)
        db.execute("COMMIT")


async def test_a_transaction_waits_for_another_writer(path: Path) -> None:
    locked = threading.Event()
    other = threading.Thread(target=hold_lock, args=(path, locked, 0.5))
    other.start()
    locked.wait()
    async with sqlite_loop(), Database.open(path) as database:
        assert await database.write(add) == 1, "what the other one wrote is seen"
        assert await database.run(count) == 2
    other.join()


def test_a_deferred_transaction_would_fail_at_once(path: Path) -> None:
    # Why each transaction is BEGIN IMMEDIATE: the busy timeout does not help here.
    with (
        closing(sqlite3.connect(path, isolation_level=None, timeout=5)) as db,
        closing(sqlite3.connect(path, isolation_level=None)) as other,
    ):
        db.execute("BEGIN")
        count(db)
        add(other)
        with pytest.raises(sqlite3.OperationalError) as refused:
            add(db)
    assert refused.value.sqlite_errorcode == sqlite3.SQLITE_BUSY_SNAPSHOT


async def test_a_lock_that_is_held_too_long_is_an_error_that_may_be_tried_again(path: Path) -> None:
    locked = threading.Event()
    other = threading.Thread(target=hold_lock, args=(path, locked, 0.6))
    other.start()
    locked.wait()
    async with sqlite_loop(), Database.open(path, busy_timeout_s=0.1) as database:
        with pytest.raises(QueueUnavailable):
            await database.write(add)
        other.join()
        assert await database.write(add) == 1


async def test_an_exception_leaves_nothing_of_its_transaction(path: Path) -> None:
    def half(db: sqlite3.Connection) -> None:
        add(db)
        raise ValueError("half-way")

    async with sqlite_loop(), Database.open(path) as database:
        with pytest.raises(ValueError, match="half-way"):
            await database.write(half)
        assert await database.run(count) == 0
        assert await database.write(add) == 0


async def test_a_cancelled_transaction_is_whole_or_not_at_all(path: Path) -> None:
    def slow(db: sqlite3.Connection) -> None:
        add(db)
        time.sleep(0.3)
        add(db)

    async with sqlite_loop(), Database.open(path) as database:
        with trio.move_on_after(0.1):
            await database.write(slow)
        assert await database.run(count) == 2, "it was begun, and so it was finished"
        with trio.CancelScope() as scope:
            scope.cancel()
            await database.write(add)
        assert await database.run(count) == 2


async def test_calls_without_end_can_be_cancelled(path: Path) -> None:
    async with sqlite_loop(), Database.open(path) as database:
        with trio.move_on_after(0.1) as scope:
            while True:  # nobody else wants a turn, so nothing else waits here
                await database.run(count)
        assert scope.cancelled_caught


async def test_callers_take_turns_in_the_order_in_which_they_came(path: Path) -> None:
    order: list[int] = []

    async def call(database: Database, number: int) -> None:
        await database.run(lambda _: order.append(number))

    async with sqlite_loop(), Database.open(path) as database, trio.open_nursery() as nursery:
        nursery.start_soon(database.run, lambda _: time.sleep(0.1))
        for number in range(20):
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(call, database, number)
    assert order == list(range(20))


async def test_nothing_of_a_call_is_kept_until_the_next_one(path: Path) -> None:
    class Large:
        pass

    def ignore(_: Large, __: sqlite3.Connection) -> None:
        pass

    large = Large()
    gone = weakref.ref(large)

    async with sqlite_loop(), Database.open(path) as database:
        await database.run(partial(ignore, large))
        del large
        with trio.fail_after(5):
            while gone() is not None:
                gc.collect()
                await trio.sleep(0.01)


@pytest.mark.parametrize("kind", ["moved", "deleted", "replaced", "its -wal"])
async def test_a_file_that_is_no_longer_there_takes_no_transaction(path: Path, kind: str) -> None:
    async with sqlite_loop(), Database.open(path) as database:
        await database.write(add)
        wal = path.with_name(f"{path.name}-wal")
        if kind == "its -wal":
            wal.unlink()
        elif kind == "deleted":
            path.unlink()
        else:
            path.rename(path.with_suffix(".old"))
            if kind == "replaced":
                path.write_bytes(path.with_suffix(".old").read_bytes())
        with pytest.raises(QueueBroken, match="moved, replaced or deleted"):
            await database.write(add)


async def test_what_follows_from_a_file_that_was_moved_says_so(path: Path) -> None:
    def fail(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async with sqlite_loop(), Database.open(path) as reader:
        with pytest.raises(QueueBroken, match="disk I/O error"):
            await reader.run(fail)
        path.rename(path.with_suffix(".old"))
        with pytest.raises(QueueBroken, match="moved, replaced or deleted"):
            await reader.run(fail)


async def test_a_connection_that_only_reads_knows_that_its_wal_was_moved(path: Path) -> None:
    wal = path.with_name(f"{path.name}-wal")

    def fail(_: sqlite3.Connection) -> None:
        raise sqlite3.OperationalError("disk I/O error")

    async with sqlite_loop(), Database.open(path, pragmas=("journal_mode = WAL",)) as writer:
        await writer.write(add)
        async with Database.open(path) as reader:
            assert await reader.run(count) == 1
            wal.rename(path.with_suffix(".old"))
            with pytest.raises(QueueBroken, match="-wal was moved, replaced or deleted"):
                await reader.run(fail)


async def test_what_is_no_database_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "some.db"
    path.write_text("not a database, but long enough to have a header" * 100)
    async with sqlite_loop(), Database.open(path) as database:
        with pytest.raises(QueueBroken, match=r"keep a copy|Keep a copy"):
            await database.run(count)


class Reserve:
    """A reserve of which a test says whether there is one."""

    def __init__(self, *, kept: bool = True) -> None:
        self.kept = kept
        self.may_keep = True

    def keep(self) -> bool:
        self.kept = self.kept or self.may_keep
        return self.kept

    def give_up(self) -> bool:
        given_up, self.kept = self.kept, False
        return given_up


class FullDisk:
    """Work that finds the disk full until the reserve is given up, or `room` is made."""

    def __init__(self, reserve: Reserve) -> None:
        self.calls = 0
        self.room = False
        self._reserve = reserve

    def __call__(self, db: sqlite3.Connection) -> int:
        self.calls += 1
        if self._reserve.kept and not self.room:
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        return add(db)


async def test_a_full_disk_gives_up_the_reserve_and_what_grows_waits(path: Path) -> None:
    reserve = Reserve()
    work = FullDisk(reserve)
    async with sqlite_loop(), Database.open(path, reserve=reserve) as database:
        with pytest.raises(QueueUnavailable):
            await database.write(work, grows=True)
        assert (reserve.kept, work.calls) == (True, 1), "what comes in does not cost it"
        assert await database.write(work) == 0, "once more, with its room"
        assert not reserve.kept
        reserve.may_keep = False
        with pytest.raises(QueueUnavailable):
            await database.write(work, grows=True)
        assert await database.write(work) == 1, "what does not grow goes on"
        reserve.may_keep = work.room = True
        assert await database.write(work, grows=True) == 2


async def test_a_full_disk_without_any_reserve_is_an_error(path: Path) -> None:
    reserve = Reserve(kept=False)
    reserve.may_keep = False
    error = sqlite3.OperationalError("database or disk is full")
    error.sqlite_errorcode = sqlite3.SQLITE_FULL

    def full(_: sqlite3.Connection) -> None:
        raise error

    async with sqlite_loop(), Database.open(path, reserve=reserve) as database:
        with pytest.raises(QueueUnavailable):
            await database.write(full)
