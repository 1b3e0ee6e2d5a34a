"""Failed attempts by hour and cause, and the hours of each endpoint, as a page shows them."""

from pathlib import Path

import pytest
from written_queue import START, change

from relayd.queue.overview_values import Hour
from relayd.queue.sqlite import failures
from relayd.queue.sqlite.reader import SQLiteReader


def test_failed_attempts_are_counted_by_hour_and_cause(path: Path) -> None:
    with SQLiteReader(path).snapshot() as snapshot:
        found = snapshot.failures(since=START)
    assert found.complete
    assert [
        (each.subscription, each.failure, each.status, each.count) for each in found.counts
    ] == [
        ("books", "status", 500, 2),
        ("shop", "status", 500, 1),
    ]
    books = found.counts[0]
    assert (books.since, books.delivery, books.detail) == (1_699_999_200, 3, "answered 500")
    assert books.last_at == START + 319


def test_only_what_failed_since_then_counts(path: Path) -> None:
    with SQLiteReader(path).snapshot() as snapshot:
        assert snapshot.failures(since=START + 320).counts == ()
        [books] = snapshot.failures(since=START + 300).counts
    assert (books.subscription, books.count) == ("books", 1)


def test_older_deliveries_count_while_they_wait_or_are_exhausted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(failures, "MOST", 2)
    with SQLiteReader(path).snapshot() as snapshot:
        found = snapshot.failures(since=START)
    assert sum(each.count for each in found.counts) == 3
    assert not found.complete  # the newest two do not reach back to `since`
    change(
        path, "UPDATE deliveries SET state = 'delivered', due_at = NULL, ended_at = 1 WHERE seq < 4"
    )
    with SQLiteReader(path).snapshot() as snapshot:
        assert snapshot.failures(since=START).counts == ()


def test_hours_are_the_attempts_of_each_endpoint(path: Path) -> None:
    with SQLiteReader(path).snapshot() as snapshot:
        found = snapshot.hours(now=START + 400)
        assert found == {
            "https://books.example/": [Hour(1_699_999_200, 0, 2)],
            "https://shop.example/": [Hour(1_699_999_200, 2, 1)],
        }
        assert snapshot.hours(now=START + 26 * 3600) == {}
