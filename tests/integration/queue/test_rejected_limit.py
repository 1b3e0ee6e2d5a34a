"""What is kept of each source's rejected input: no producer fills the disk with it."""

import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import structlog.testing
from events import make_event
from queue_file import NOW, inside, opened, rows_of, seen
from webhooks import unmappable, webhook

from relayd.config.sections import REJECTED_BYTES, QueueConfig
from relayd.core.acceptance import Acceptance, NewEvent, RejectedRow
from relayd.core.event import Rejection, SpoolRow
from relayd.queue.interface import QueueUnavailable
from relayd.queue.snapshot_values import RemovedInput
from relayd.queue.sqlite.prune import remove_rejected
from relayd.queue.sqlite.rejected import drop_rejected, forget_left, list_rejected
from relayd.queue.sqlite.rejected_limit import read_removed, remove_oldest
from relayd.queue.sqlite.schema import migrate
from relayd.queue.sqlite.tables import MIGRATIONS

SIZE = "300 + length(reason) + length(id) + length(type) + length(data)"


def bad(
    seq: int, size: int, source: str = "spool market", code: str = "invalid_type"
) -> RejectedRow:
    row = SpoolRow(seq, b"evt_bad", b"Order", b"x" * size, None, None, None)
    return RejectedRow(source, row, Rejection(code, "the type is 'Order'"))


def kept(path: Path, source: str = "spool market") -> list[int]:
    rows = rows_of(
        path, f"SELECT length(data) FROM rejected WHERE source = '{source}' ORDER BY seq"
    )
    return [int(str(size)) for (size,) in rows]


async def test_a_source_that_brings_too_much_loses_its_own_oldest_and_nobody_elses(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await queue.accept([NewEvent(make_event("evt_1"), "spool market", ("books",))])
        await queue.reject([bad(1, 90_000, "spool other")], most_bytes=100_000)
        for seq in range(1, 200):
            new = [bad(seq, 9_000 + seq, code="too_large" if seq % 2 else "invalid_type")]
            assert (await queue.reject(new, most_bytes=100_000)).new == new, "each is reported"
        assert kept(path) == list(range(9_190, 9_200)), "the newest stay"
        assert kept(path, "spool other") == [90_000]
        assert rows_of(path, "SELECT id FROM events") == [("evt_1",)]
        removed = await seen(queue, read_removed)
    counts = {(each.source, each.code): each.count for each in removed}
    assert counts == {("spool market", "invalid_type"): 94, ("spool market", "too_large"): 95}
    assert sum(each.bytes for each in removed) == pytest.approx(189 * 9_430, rel=0.01)
    assert {each.last_at for each in removed} == {NOW}


async def test_the_file_stays_small_whatever_comes(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        for seq in range(60):
            await queue.reject([bad(seq, 4_000_000)], most_bytes=20_000_000)
        assert len(kept(path)) == 4
        for start in range(0, 10_000, 500):
            rows = [bad(seq, 1) for seq in range(start, start + 500)]
            await queue.reject(rows, most_bytes=300_000)
        assert 800 <= len(kept(path)) <= 1_000, "small ones count with what a row takes"
        assert not rows_of(path, "SELECT 1 FROM rejected_before"), "nor do fingerprints pile up"
        assert len(await seen(queue, read_removed)) == 1
    assert path.stat().st_size < 45_000_000, "240 MB came"


async def test_the_newest_is_kept_whole_whatever_its_size(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        for seq, size in enumerate((10, 5_000_000, 10, 6_000_000)):
            await queue.reject([bad(seq, size)], most_bytes=1_000_000)
        assert kept(path) == [6_000_000]
        await queue.reject([bad(9, 10)], most_bytes=1_000_000)
        assert kept(path) == [10]


async def test_what_is_removed_is_logged_once_and_goes_in_steps(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "queue.db"
    steps: list[int] = []

    def step(*arguments: Any, **named: Any) -> Any:
        removal = remove_oldest(*arguments, **named)
        steps.append(removal.bytes)
        return removal

    monkeypatch.setattr("relayd.queue.sqlite.event_path.remove_oldest", step)
    async with opened(path) as queue:
        await queue.reject([bad(seq, 1_000_000) for seq in range(12)])
        with structlog.testing.capture_logs() as logs:
            await queue.reject([bad(99, 1)], most_bytes=2_000_000)
        assert kept(path) == [1_000_000, 1]
        assert len(steps) == 3
        assert max(steps) < 6_000_000
    [line] = logs
    assert line["event"] == "rejected_removed"
    assert line["log_level"] == "warning"
    assert line["source"] == "spool market"
    assert line["reason"] == "source_limit"
    assert line["max_bytes"] == 2_000_000
    assert line["rows"] == 11


async def test_a_full_disk_meanwhile_neither_loses_the_rows_nor_their_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "queue.db"
    steps: list[int] = []

    def step(*arguments: Any, **named: Any) -> Any:
        if len(steps) == 1:
            raise QueueUnavailable(path, "disk full")
        removal = remove_oldest(*arguments, **named)
        steps.append(removal.count)
        return removal

    async with opened(path) as queue:
        await queue.reject([bad(seq, 1_000_000) for seq in range(12)])
        monkeypatch.setattr("relayd.queue.sqlite.event_path.remove_oldest", step)
        with structlog.testing.capture_logs() as logs:
            assert len((await queue.reject([bad(99, 1)], most_bytes=2_000_000)).new) == 1
        assert [line["rows"] for line in logs] == steps
        monkeypatch.setattr("relayd.queue.sqlite.event_path.remove_oldest", remove_oldest)
        await queue.reject([bad(100, 1)], most_bytes=2_000_000)
        assert kept(path) == [1_000_000, 1, 1]


async def test_large_rows_behind_many_small_ones_do_not_outrun_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        for start in range(0, 20_000, 500):
            await queue.reject([bad(seq, 1) for seq in range(start, start + 500)])
        for seq in range(30):
            await queue.reject([bad(100_000 + seq, 3_000_000)], most_bytes=8_000_000)
            [(size,)] = rows_of(path, "SELECT bytes FROM rejected_kept")
            assert int(str(size)) <= 8_000_000, "at each return"
    assert path.stat().st_size < 30_000_000


async def test_the_sums_are_right_whatever_takes_rows_off_the_list(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    sums = f"SELECT source, count(*), sum({SIZE}) FROM rejected GROUP BY source"
    async with opened(path) as queue:
        await queue.reject([bad(seq, 100 * seq) for seq in range(40)])
        await queue.reject([bad(seq, seq, "spool other") for seq in range(40)])
        await queue.reject([bad(3, 300)])  # a duplicate
        await inside(queue, lambda db, *_: drop_rejected(db, [1, 5, 50, 999], now=NOW))
        await queue.reject([bad(60, 50)], most_bytes=30_000)
        assert rows_of(path, "SELECT source, count, bytes FROM rejected_kept") == rows_of(
            path, sums
        )
        await inside(queue, lambda db, *_: remove_rejected(db, NOW + 1))
        assert rows_of(path, "SELECT count(*) FROM rejected") == [(0,)]
        assert rows_of(path, "SELECT sum(count), sum(bytes) FROM rejected_kept") == [(0, 0)]


async def test_the_operator_who_empties_the_list_has_seen_it_and_retention_forgets_it(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        for source in ("spool market", "spool other"):
            await queue.reject([bad(seq, 1_000, source) for seq in range(9)], most_bytes=4_000)
        listed = await seen(queue, lambda db: list_rejected(db, limit=100))
        mine = [each.seq for each in listed if each.source == "spool market"]
        await inside(queue, lambda db, *_: drop_rejected(db, mine[1:], now=NOW))
        assert len(await seen(queue, read_removed)) == 2, "one is left of it"
        await inside(queue, lambda db, *_: drop_rejected(db, mine, now=NOW))
        assert [each.source for each in await seen(queue, read_removed)] == ["spool other"]
        await inside(queue, lambda db, *_: forget_left(db, NOW))
        assert len(await seen(queue, read_removed)) == 1
        await inside(queue, lambda db, *_: forget_left(db, NOW + 1))
        assert await seen(queue, read_removed) == []


async def test_codes_that_a_reader_makes_up_are_counted_together(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        for seq in range(100):
            await queue.reject([bad(seq, 1_000, code=f"code_{seq}")], most_bytes=1_000)
        removed = await seen(queue, read_removed)
    assert len(removed) == 33
    [other] = [each for each in removed if each.code == "other"]
    assert other.count == 99 - 32


async def test_a_row_that_was_removed_and_is_still_in_its_spool_is_rejected_again(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await queue.reject([bad(1, 1_000)], most_bytes=1_500)
        await queue.reject([bad(2, 1_000)], most_bytes=1_500)
        assert (await queue.reject([bad(1, 1_000)], most_bytes=1_500)).new != []
        assert (await queue.reject([bad(1, 1_000)], most_bytes=1_500)).new == [], (
            "it is in the list"
        )
        accepted = await queue.accept([NewEvent(make_event("evt_1"), "spool market", ())])
        assert accepted == [Acceptance.ACCEPTED]


async def test_a_queue_of_version_2_knows_what_it_keeps(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("relayd.queue.sqlite.schema.MIGRATIONS", MIGRATIONS[:2])
            migrate(db, 0, "tag")
        db.executemany(
            "INSERT INTO rejected (source, rejected_at, code, reason, fingerprint, data)"
            " VALUES (?, 1, 'c', 'r', randomblob(32), ?)",
            [("spool a", os.urandom(1_000)), ("spool a", None), ("spool b", b"x")],
        )
    path.chmod(0o600)
    async with opened(path) as queue:
        assert rows_of(path, "SELECT source, count, bytes FROM rejected_kept") == [
            ("spool a", 2, 2 * 301 + 1_000),
            ("spool b", 1, 302),
        ]
        await queue.reject([bad(1, 10, "spool a")], most_bytes=1_000)
        assert rows_of(path, "SELECT source, count FROM rejected_kept") == [
            ("spool a", 2),
            ("spool b", 1),
        ]
        [removed] = await seen(queue, read_removed)
    assert removed == RemovedInput("spool a", "c", 1, 1_301, NOW, NOW)


def test_the_limit_is_a_twentieth_of_the_queues_largest_size() -> None:
    path = Path("queue.db")
    assert QueueConfig(path, 1.0).rejected_bytes == REJECTED_BYTES == 64_000_000
    assert QueueConfig(path, 1.0, 2_000_000_000).rejected_bytes == 64_000_000
    assert QueueConfig(path, 1.0, 500_000_000).rejected_bytes == 25_000_000


async def test_what_a_webhook_leaves_beside_its_body_counts_for_the_limit(tmp_path: Path) -> None:
    path, headers = tmp_path / "queue.db", '{"x-topic": "' + "t" * 10_000 + '"}'
    async with opened(path) as queue:
        for number in range(60):
            small = replace(webhook(f"shop:{number}", raw=b"{}"), headers=headers)
            await queue.reject([unmappable(small)], most_bytes=100_000)
    [(count, size)] = rows_of(path, "SELECT count(*), sum(length(webhook)) FROM rejected")
    assert int(str(count)) == 9
    assert int(str(size)) < 100_000
    assert rows_of(path, "SELECT bytes > 0 AND bytes <= 100000 FROM rejected_kept") == [(1,)]
    async with opened(path) as queue:
        await inside(queue, lambda db, *_: remove_rejected(db, NOW + 1))
    assert rows_of(path, "SELECT count, bytes FROM rejected_kept") == [(0, 0)]
