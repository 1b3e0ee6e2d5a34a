"""The queue's -wal while another program reads for long."""

import sqlite3
import threading
from contextlib import closing
from pathlib import Path
from typing import Any, cast

import pytest
import trio
from structlog.testing import capture_logs

from relayd.database import Database, sqlite_loop
from relayd.queue.sqlite import wal_watch
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.wal_watch import WalWatch


async def test_it_is_told_once_when_it_grows_and_once_when_it_shrinks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(wal_watch, "LARGE_BYTES", 1000)
    wal = tmp_path / "queue.db-wal"
    watch = WalWatch(tmp_path / "queue.db")
    with capture_logs() as lines:
        for size in (None, 999, 1000, 5000, 5000, 10, 10, 2000):
            if size is not None:
                wal.write_bytes(bytes(size))
            await watch.look()
    assert [(line["event"], line["bytes"]) for line in lines] == [
        ("wal_large", 1000), ("wal_truncated", 10), ("wal_large", 2000)
    ]  # fmt: skip


class Hanging:
    """What a file is on a disk that does not answer."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.released = threading.Event()

    def stat(self) -> object:
        self.asked.set()
        self.released.wait(20)
        return Path("/").stat()


async def test_a_disk_that_hangs_holds_up_neither_the_loop_nor_the_end(tmp_path: Path) -> None:
    watch, hanging = WalWatch(tmp_path / "queue.db"), Hanging()
    vars_of = cast("Any", watch)
    vars_of._wal = hanging
    try:
        with trio.fail_after(10):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(watch.run)
                while not hanging.asked.is_set():
                    await trio.sleep(0.01)
                nursery.cancel_scope.cancel()
        assert not hanging.released.is_set()
    finally:
        hanging.released.set()


async def test_it_is_cut_back_once_a_long_reader_ends(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    wal = tmp_path / "queue.db-wal"

    def fill(db: sqlite3.Connection) -> None:
        db.execute("CREATE TABLE IF NOT EXISTS filler (data)")
        db.execute("INSERT INTO filler VALUES (zeroblob(8000000))")

    async with sqlite_loop(), open_queue(path, lambda: 0.0) as queue:
        writer: Database = queue._writer
        with closing(sqlite3.connect(path, isolation_level=None)) as reader:
            reader.execute("BEGIN")
            reader.execute("SELECT * FROM queue").fetchall()
            for _ in range(12):
                await writer.write(fill)
            assert wal.stat().st_size > 90_000_000, "it cannot be checkpointed"
            reader.execute("COMMIT")
        for _ in range(3):
            await writer.write(fill)
        assert wal.stat().st_size <= 64 * 1024 * 1024
