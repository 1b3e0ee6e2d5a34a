"""The queue's -wal while readers without end overlap each other: real files and threads."""

import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from relayd.queue.snapshot import QueueReader
from relayd.web import reading_gaps
from relayd.web.reading_gaps import ReadingGaps

LARGE = 1_000_000


class Reader:
    """Reads a table, as a snapshot does, and takes its time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.most = 0
        self._now = 0

    @contextmanager
    def snapshot(self, *, limit_s: float | None = None) -> Iterator[Any]:
        assert limit_s is None
        with closing(sqlite3.connect(self._path, isolation_level=None)) as db:
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM t").fetchall()
            self._now += 1
            self.most = max(self.most, self._now)
            yield db
            self._now -= 1

    def changes(self) -> Any:
        raise NotImplementedError


def largest_wal(path: Path, reader: QueueReader, writes: int) -> int:
    """Return how large the -wal gets in so many commits beside four who read without a pause."""
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            with reader.snapshot():
                time.sleep(0.02)

    threads = [threading.Thread(target=read) for _ in range(4)]
    largest = 0
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_size_limit = 500000")
        db.execute("PRAGMA wal_autocheckpoint = 50")
        for each in threads:
            each.start()
        try:
            for _ in range(writes):
                db.execute("INSERT INTO t VALUES (randomblob(20000))")
                largest = max(largest, Path(f"{path}-wal").stat().st_size)
                time.sleep(0.004)
        finally:
            done.set()
            for each in threads:
                each.join()
    return largest


def test_readers_that_overlap_each_other_without_end_do_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_gaps, "LARGE_BYTES", LARGE)
    monkeypatch.setattr(reading_gaps, "EVERY_S", 0.0)
    path = tmp_path / "queue.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE t (x)")
    reader = Reader(path)
    wal = Path(f"{path}-wal")
    largest = largest_wal(path, ReadingGaps(reader, wal), 300)
    assert reader.most == 4, "they overlapped"
    # Some is written while those who read are waited for.
    assert largest < 3 * LARGE
    # The test can fail: without gaps there is all of it.
    assert largest_wal(path, reader, 300) > 5 * LARGE


def test_a_gap_waits_for_all_who_read_and_comes_no_more_often_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_gaps, "LARGE_BYTES", 0)
    monkeypatch.setattr(reading_gaps, "GAP_S", 0.05)
    path = tmp_path / "queue.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE t (x)")
        db.execute("INSERT INTO t VALUES (1)")
        gaps = ReadingGaps(Reader(path), Path(f"{path}-wal"))
        entered = threading.Event()

        def late() -> None:
            with gaps.snapshot():
                entered.set()

        with gaps.snapshot():
            waiting = threading.Thread(target=late)
            waiting.start()
            assert not entered.wait(0.2), "it waits for the one that reads"
        assert entered.wait(10.0)
        waiting.join()
        with gaps.snapshot(), gaps.snapshot():
            pass  # another gap is not due yet


def test_who_reads_for_long_keeps_nobody_from_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading_gaps, "LARGE_BYTES", 0)
    monkeypatch.setattr(reading_gaps, "LONGEST_S", 0.1)
    path = tmp_path / "queue.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("CREATE TABLE t (x)")
        gaps = ReadingGaps(Reader(path), Path(f"{path}-wal"))
        with gaps.snapshot():
            with gaps.snapshot():
                pass
            # Nor does the next one wait, and the one after it: a gap is not due so soon.
            monkeypatch.setattr(reading_gaps, "LONGEST_S", 30.0)
            began = time.monotonic()
            with gaps.snapshot():
                assert time.monotonic() - began < 15.0


def test_a_small_wal_takes_no_gap(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE t (x)")
    gaps = ReadingGaps(Reader(path), Path(f"{path}-wal"))
    with gaps.snapshot(), gaps.snapshot(), gaps.snapshot():
        pass
