"""A backup is one state of the queue, whole, whatever is committed while it is made."""

import fcntl
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace

import pytest
from events import make_event
from processes import make_spool
from queue_file import opened, rows_of

from relayd.core.acceptance import NewEvent
from relayd.core.queue_files import queue_files
from relayd.queue.snapshot_values import QueueUnreadableError
from relayd.queue.sqlite import backup
from relayd.queue.sqlite.backup import Backup, BackupError, back_up
from relayd.queue.sqlite.reserve import RESERVE_BYTES


def nothing(_: int, __: int) -> None:
    """Do not watch."""


async def make_queue(path: Path, events: int) -> None:
    data = {"object": {"text": "x" * 1000}}
    async with opened(path) as queue:
        await queue.accept(
            [
                NewEvent(make_event(f"evt_{number}", data=data), "socket", ("books", "mail"))
                for number in range(events)
            ]
        )


async def test_what_is_in_it_and_who_may_read_it(tmp_path: Path) -> None:
    path, target = tmp_path / "queue.db", tmp_path / "copy.db"
    await make_queue(path, 3)
    umask = os.umask(0)
    try:
        made = back_up(path, target, replace=False, progress=nothing)
    finally:
        os.umask(umask)
    assert made == Backup(target.stat().st_size, events=3, deliveries=6, waiting=6)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert sorted(each.name for each in tmp_path.glob("copy*")) == ["copy.db"]
    # relayd goes on with it, under the same ids.
    ids = "SELECT id, body FROM events"
    assert rows_of(target, ids) == rows_of(path, ids)
    async with opened(target) as queue:
        assert queue.tag == rows_of(path, "SELECT tag FROM queue")[0][0]


async def test_it_is_one_state_while_a_writer_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "_PAGES_AT_ONCE", 5)
    path, target = tmp_path / "queue.db", tmp_path / "copy.db"
    await make_queue(path, 400)
    pages = path.stat().st_size // 4096
    steps: list[int] = []
    with closing(sqlite3.connect(path, isolation_level=None)) as writer:

        def commit(done: int, total: int) -> None:
            # At each step both ends of the file change, together.
            steps.append(done)
            writer.execute("BEGIN IMMEDIATE")
            writer.execute("UPDATE queue SET tag = ?", (f"t{len(steps)}",))
            writer.execute("UPDATE events SET source = ? WHERE seq IN (1, 400)", (len(steps),))
            writer.execute("COMMIT")
            assert total >= pages

        before = rows_of(path, "SELECT tag FROM queue")
        made = back_up(path, target, replace=False, progress=commit)
        assert len(steps) > 30
        # It went through once, and never began anew.
        assert steps == sorted(steps)
    assert made.events == 400
    assert rows_of(target, "SELECT tag FROM queue") == before
    assert rows_of(target, "SELECT DISTINCT source FROM events") == [("socket",)]
    assert rows_of(target, "PRAGMA integrity_check") == [("ok",)]
    assert rows_of(path, "SELECT tag FROM queue") == [(f"t{len(steps)}",)]


async def test_what_is_in_the_wal_is_in_it(tmp_path: Path) -> None:
    path, target = tmp_path / "queue.db", tmp_path / "copy.db"
    async with opened(path) as queue:
        await queue.accept([NewEvent(make_event("evt_1"), "socket", ("books",))])
        assert path.with_name("queue.db-wal").stat().st_size
        assert back_up(path, target, replace=False, progress=nothing).events == 1


async def test_nothing_is_overwritten_unless_it_is_wanted(tmp_path: Path) -> None:
    path, target = tmp_path / "queue.db", tmp_path / "copy.db"
    await make_queue(path, 1)
    target.write_text("precious")
    with pytest.raises(BackupError, match="already exists; --force"):
        back_up(path, target, replace=False, progress=nothing)
    with pytest.raises(BackupError, match="is not a backup of a queue"):
        back_up(path, target, replace=True, progress=nothing)
    assert target.read_text() == "precious"
    spool = make_spool(tmp_path / "spool.db")
    with pytest.raises(BackupError, match="is not a backup of a queue"):
        back_up(path, spool, replace=True, progress=nothing)
    target.write_text("")
    assert back_up(path, target, replace=True, progress=nothing).events == 1
    assert back_up(path, target, replace=True, progress=nothing).events == 1
    link = tmp_path / "link.db"
    link.symlink_to(path)
    hard = tmp_path / "hard.db"
    hard.hardlink_to(path)
    # A copy is FILE.partial first.
    (tmp_path / "hidden.db.partial").hardlink_to(path)
    sides = [Path(each) for each in queue_files(str(path))]
    for own in (*sides, link, hard, tmp_path / "x/../queue.db.lock", tmp_path / "hidden.db"):
        with pytest.raises(BackupError, match="is a file of the queue itself"):
            back_up(path, own, replace=True, progress=nothing)
    with pytest.raises(BackupError, match="is a folder"):
        back_up(path, tmp_path, replace=True, progress=nothing)
    with pytest.raises(BackupError, match="cannot be written: No such file"):
        back_up(path, tmp_path / "nowhere" / "copy.db", replace=True, progress=nothing)
    assert rows_of(path, "SELECT count(*) FROM events") == [(1,)]


async def test_a_backup_never_fills_the_disk_of_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, target = tmp_path / "queue.db", tmp_path / "copy.db"
    await make_queue(path, 100)
    size = back_up(path, tmp_path / "first.db", replace=False, progress=nothing).size_bytes
    free = size + RESERVE_BYTES - 1

    def statvfs(_: Path) -> SimpleNamespace:
        return SimpleNamespace(f_bavail=free, f_frsize=1)

    monkeypatch.setattr(os, "statvfs", statvfs)
    with pytest.raises(BackupError, match="has 8 MB free, and a backup there needs 9 MB; name a"):
        back_up(path, target, replace=False, progress=nothing)
    assert sorted(each.name for each in tmp_path.glob("copy*")) == []
    free += 1
    assert back_up(path, target, replace=False, progress=nothing).events == 100


@pytest.mark.parametrize("finished", [True, False])
async def test_a_backup_that_ends_as_another_begins_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, finished: bool
) -> None:
    path, target = tmp_path / "queue.db", tmp_path / "copy.db"
    partial = tmp_path / "copy.db.partial"
    await make_queue(path, 3)
    first = tmp_path / "first.db"
    back_up(path, first, replace=False, progress=nothing)
    whole = first.read_bytes()
    first.rename(partial)
    lock = fcntl.flock

    def end_the_other_one(descriptor: int, operation: int) -> None:
        monkeypatch.undo()
        if finished:
            partial.rename(first)
        else:
            partial.unlink()
        lock(descriptor, operation)

    # The second one has opened the file of the first, which then gets its own name, or is removed.
    monkeypatch.setattr(fcntl, "flock", end_the_other_one)
    assert back_up(path, target, replace=False, progress=nothing).events == 3
    assert (first.read_bytes() if finished else whole) == whole
    assert not partial.exists()


async def test_what_was_cut_off_is_taken_away_or_begun_anew(tmp_path: Path) -> None:
    path, target = tmp_path / "queue.db", tmp_path / "copy.db"
    partial = tmp_path / "copy.db.partial"
    await make_queue(path, 100)

    def stop(_: int, __: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        back_up(path, target, replace=False, progress=stop)
    assert not partial.exists()
    # A process that was killed leaves it; one that is at it holds it.
    partial.write_bytes(b"half" * 100_000)
    with partial.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(BackupError, match="another backup is writing"):
            back_up(path, target, replace=False, progress=nothing)
        assert partial.exists()
    assert back_up(path, target, replace=False, progress=nothing).events == 100
    assert not partial.exists()
    partial.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BackupError, match="cannot be written"):
        back_up(path, target, replace=True, progress=nothing)


async def test_a_damaged_queue_gives_no_backup(tmp_path: Path) -> None:
    path, target = tmp_path / "queue.db", tmp_path / "copy.db"
    await make_queue(path, 400)
    with path.open("r+b") as file:
        file.seek(4096 * 30)
        file.write(b"\xff" * 4096 * 12)
    with pytest.raises(BackupError, match="the copy is damaged, and so is the queue"):
        back_up(path, target, replace=False, progress=nothing)
    assert list(tmp_path.glob("copy*")) == []
    with pytest.raises(QueueUnreadableError, match="there is no queue yet"):
        back_up(tmp_path / "none.db", target, replace=False, progress=nothing)
    assert list(tmp_path.glob("copy*")) == []


async def test_a_full_disk_is_told_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, target = tmp_path / "queue.db", tmp_path / "copy.db"
    await make_queue(path, 400)
    connect = sqlite3.connect

    def small(*arguments: str, **options: bool) -> sqlite3.Connection:
        db: sqlite3.Connection = connect(*arguments, **options)  # type: ignore[call-overload]  # passed on
        db.execute("PRAGMA max_page_count = 20")
        return db

    monkeypatch.setattr(sqlite3, "connect", small)
    with pytest.raises(BackupError, match=r"copied to .*: database or disk is full"):
        back_up(path, target, replace=False, progress=nothing)
    assert list(tmp_path.glob("copy*")) == []
