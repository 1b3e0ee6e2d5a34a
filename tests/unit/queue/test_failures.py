"""Failed attempts by hour and cause, and the hours of each endpoint, as a page shows them."""

import sqlite3
from contextlib import closing
from pathlib import Path

from written_queue import START, change

from relayd.queue.overview_values import Hour
from relayd.queue.sqlite import failures
from relayd.queue.sqlite.reader import SQLiteReader

HOUR = 1_699_999_200


def test_failed_attempts_are_counted_by_hour_and_cause(path: Path) -> None:
    with SQLiteReader(path).snapshot() as snapshot:
        found = snapshot.failures(since=HOUR, until=HOUR + 86_400)
    assert found.complete
    assert [(each.subscription, each.cause, each.status, each.count) for each in found.counts] == [
        ("books", "status", 500, 2),
        ("shop", "status", 500, 1),
    ]
    books = found.counts[0]
    assert (books.since, books.delivery, books.detail) == (HOUR, 3, "answered 500")
    assert books.last_at == START + 319


def test_only_the_hours_from_then_on_count(path: Path) -> None:
    with SQLiteReader(path).snapshot() as snapshot:
        assert len(snapshot.failures(since=HOUR, until=HOUR + 86_400).counts) == 2
        assert snapshot.failures(since=HOUR + 3600, until=HOUR + 86_400).counts == ()


def test_what_was_counted_while_the_clock_was_ahead_is_not_of_today(path: Path) -> None:
    change(path, f"UPDATE failure_counts SET since = {HOUR + 400 * 86_400}")
    with SQLiteReader(path).snapshot() as snapshot:
        assert snapshot.failures(since=HOUR, until=HOUR + 3600).counts == ()
    assert causes(path) == {"books": {("status", 500): 2}, "shop": {("status", 500): 1}}


def test_what_was_removed_still_counts(path: Path) -> None:
    for table in ("attempts", "deliveries", "events"):
        change(path, f"DELETE FROM {table}")
    with SQLiteReader(path).snapshot() as snapshot:
        assert [
            each.count for each in snapshot.failures(since=HOUR, until=HOUR + 86_400).counts
        ] == [2, 1]


def test_an_upgrade_within_that_time_is_said(path: Path) -> None:
    change(path, f"UPDATE queue SET failures_from = {START}")
    with SQLiteReader(path).snapshot() as snapshot:
        assert not snapshot.failures(since=HOUR, until=HOUR + 86_400).complete
        assert snapshot.failures(since=HOUR + 3600, until=HOUR + 86_400).complete


def test_hours_that_are_told_apart_no_longer_stay_in_the_sums(path: Path) -> None:
    before = causes(path)
    assert before == {"books": {("status", 500): 2}, "shop": {("status", 500): 1}}
    with closing(sqlite3.connect(path)) as db, db:
        failures.forget(db, now=START + 2 * 86_400)
        failures.forget(db, now=START + 3 * 86_400)
    assert causes(path) == before
    with SQLiteReader(path).snapshot() as snapshot:
        assert snapshot.failures(since=HOUR, until=HOUR + 86_400).counts == ()


def causes(path: Path) -> dict[str, dict[tuple[str, int], int]]:
    with SQLiteReader(path).snapshot() as snapshot:
        return {name: dict(each.causes) for name, each in snapshot.totals().attempts.items()}


def test_hours_are_the_attempts_of_each_endpoint(path: Path) -> None:
    with SQLiteReader(path).snapshot() as snapshot:
        found = snapshot.hours(now=START + 400)
        assert found == {
            "https://books.example/": [Hour(1_699_999_200, 0, 2)],
            "https://shop.example/": [Hour(1_699_999_200, 2, 1)],
        }
        assert snapshot.hours(now=START + 26 * 3600) == {}
