"""A queue that is damaged, moved, locked or read-only: told in one line, and never made anew."""

import os
import random
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio
from faults.injection import needs_root, read_only
from faults.producing import integrity, producer, states, until
from processes import RelaydProcess, make_spool, running, started, write_config
from receivers import answer, open_receiver

from relayd.database import sqlite_loop
from relayd.queue.interface import QueueBroken
from relayd.queue.sqlite import integrity as integrity_check

PAGE = 4096


async def filled(folder: Path, events: int = 200) -> Path:
    """Make a queue with events that wait, and return its configuration."""
    make_spool(folder / "spool.db")
    config = write_config(
        folder,
        {"books": {"url": "http://127.0.0.1:9/hook", "retry": ["1h"], "rate_limit": "1000/s"}},
    )
    async with running(config), producer(folder) as each:
        for number in range(events):
            await each.send(f"evt_{number}", filler="x" * 500)
            await each.answer()
        await until(lambda: set(states(folder / "queue.db").values()) == {"retrying"})
    return config


async def refused(config: Path) -> str:
    """Start relayd, and return why it ended by itself."""
    before = (config.parent / "queue.db").read_bytes()
    async with started(config) as relayd:
        assert await relayd.wait() == 1
    assert (config.parent / "queue.db").read_bytes() == before, "it was left as it is"
    return the_one_line(relayd)


def the_one_line(relayd: RelaydProcess) -> str:
    assert "Traceback" not in relayd.errors
    assert not relayd.events("daemon_internal_error")
    assert len(relayd.events("daemon_failed")) == 1, relayd.errors
    [line] = relayd.events("daemon_failed")
    assert relayd.errors == f"relayd: {line['detail']}\n"
    return str(line["detail"])


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


async def test_overwritten_pages_are_found_at_the_start(tmp_path: Path) -> None:
    config = await filled(tmp_path)
    queue = tmp_path / "queue.db"
    pages = queue.stat().st_size // PAGE
    intact = queue.read_bytes()
    chosen = random.Random(14)
    found = 0
    for _ in range(6):
        queue.write_bytes(intact)
        # Pages in use: a free page, or one of a body's middle, holds nothing to find.
        overwrite(queue, PAGE * chosen.randrange(2, pages), chosen.randbytes(PAGE))
        if integrity(queue) == "ok":
            continue
        found += 1
        reason = await refused(config)
        assert str(queue) in reason
        assert "damaged" in reason
        assert ".recover" in reason, "it says what to do"
    assert found >= 2


@pytest.mark.parametrize("length", [16, 100, PAGE])
async def test_an_overwritten_header_is_found_at_the_start(tmp_path: Path, length: int) -> None:
    config = await filled(tmp_path, events=1)
    overwrite(tmp_path / "queue.db", 0, bytes(length))
    reason = await refused(config)
    assert "damaged, or not a SQLite database" in reason


async def test_a_queue_that_was_cut_off_is_found_at_the_start(tmp_path: Path) -> None:
    config = await filled(tmp_path)
    queue = tmp_path / "queue.db"
    os.truncate(queue, queue.stat().st_size // 2)
    assert "damaged" in await refused(config)


async def test_a_queue_of_which_only_the_wal_is_left_is_not_made_anew(tmp_path: Path) -> None:
    config = await filled(tmp_path, events=3)
    queue = tmp_path / "queue.db"
    async with running(config) as relayd:
        # As after a kill: the -wal holds what is not in the file yet.
        async with producer(tmp_path) as each:
            assert (await each.hand_over("evt_in_the_wal"))["ok"]
        relayd.process.kill()
        await relayd.wait()
    assert (tmp_path / "queue.db-wal").stat().st_size
    moved = queue.rename(tmp_path / "moved.db")
    async with started(config) as relayd:
        assert await relayd.wait() == 1
    assert "queue.db-wal" in the_one_line(relayd)
    assert not queue.exists()
    moved.rename(queue)
    async with running(config):
        assert "evt_in_the_wal" in states(queue), "putting it back was all that was needed"


async def test_damage_that_is_met_later_ends_relayd(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    queue = tmp_path / "queue.db"
    async with open_receiver(answer(503)) as receiver:
        config = write_config(
            tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s", "retry": ["1h"]}}
        )
        async with started(config) as relayd:
            with trio.fail_after(20):
                await relayd.logged("started")
            async with producer(tmp_path) as each:
                for number in range(60):
                    await each.hand_over(f"evt_{number}", filler="x" * 2000)
                with closing(sqlite3.connect(queue)) as db:
                    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
                pages = queue.stat().st_size // PAGE
                overwrite(queue, PAGE, random.Random(1).randbytes(PAGE * (pages - 1)))
                await each.hand_over_until_it_ends(20_000, size=10_000)
            assert await relayd.wait() == 1
    assert "damaged" in the_one_line(relayd)


@pytest.mark.parametrize("name", ["queue.db", "queue.db-wal"])
async def test_a_queue_that_was_moved_away_is_not_written_in_secret(
    tmp_path: Path, name: str
) -> None:
    config = await filled(tmp_path, events=1)
    async with started(config) as relayd:
        with trio.fail_after(20):
            await relayd.logged("started")
        async with producer(tmp_path) as each:
            assert (await each.hand_over("evt_before"))["ok"]
            (tmp_path / name).rename(tmp_path / "moved")
            with pytest.raises(EOFError):
                await each.hand_over("evt_after")
        assert await relayd.wait() == 1
    reason = the_one_line(relayd)
    assert f"{name} was moved, replaced or deleted" in reason


async def test_a_large_queue_is_checked_beside_deliveries_after_a_kill(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await filled(tmp_path, events=50)
    monkeypatch.setattr(integrity_check, "CHECKED_BYTES", 10_000)
    queue = tmp_path / "queue.db"
    async with sqlite_loop():
        assert not await integrity_check.check_at_start(queue), (
            "too large to be checked at the start"
        )
        await integrity_check.check_whole(queue)
        pages = queue.stat().st_size // PAGE
        overwrite(queue, PAGE * (pages // 2), random.Random(1).randbytes(PAGE * (pages // 4)))
        with pytest.raises(QueueBroken) as damaged:
            await integrity_check.check_whole(queue)
    assert "\n" not in str(damaged.value)


@needs_root
async def test_a_read_only_file_system_is_told_at_the_start(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    config = await filled(disk, events=1)
    with read_only(disk):
        async with started(config) as relayd:
            assert await relayd.wait() == 1
    reason = the_one_line(relayd)
    assert str(disk) in reason
    assert "ead-only file system" in reason


async def test_a_queue_locked_by_another_program_is_waited_for(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        async with running(config) as relayd, producer(tmp_path) as each:
            assert (await each.hand_over("evt_1"))["ok"]
            with closing(sqlite3.connect(tmp_path / "queue.db", isolation_level=None)) as db:
                db.execute("BEGIN IMMEDIATE")
                refused = await each.hand_over("evt_2")
                assert refused["code"] == "unavailable"
                assert "lock" in refused["error"]
                db.execute("ROLLBACK")
            assert (await each.hand_over("evt_2"))["ok"]
            with trio.fail_after(10):
                await relayd.logged("attempt_succeeded", event_id="evt_2")
    assert set(states(tmp_path / "queue.db").values()) == {"delivered"}
