"""The check of a whole queue."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import trio

from relayd.database import sqlite_loop
from relayd.queue.interface import QueueBroken
from relayd.queue.sqlite import integrity
from relayd.queue.sqlite.integrity import check_at_start, check_whole


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "queue.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE things (name)")
        db.executemany("INSERT INTO things VALUES (?)", [("x" * 1000,) for _ in range(200)])
        db.commit()
    return path


async def test_a_sound_queue_and_one_that_is_not_there_pass(path: Path) -> None:
    async with sqlite_loop():
        assert await check_at_start(path)
        assert await check_at_start(path.with_name("not yet.db"))


async def test_a_damaged_one_does_not(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(3 * 4096)
        file.write(b"\xff" * 4096)
    async with sqlite_loop():
        with pytest.raises(QueueBroken):
            await check_at_start(path)


async def test_a_long_check_stops_soon_when_cancelled(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    monkeypatch.setattr(integrity, "_CHECK", endless)
    async with sqlite_loop():
        with trio.fail_after(10), trio.move_on_after(0.1) as cancelled:
            await check_whole(path)
        assert cancelled.cancelled_caught
