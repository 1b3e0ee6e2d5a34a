"""How everything stands, read from queue files that the daemon's own code wrote."""

import re
from pathlib import Path

import pytest
from written_queue import START, change

from relayd.core.endpoint import Health
from relayd.core.hold import Hold
from relayd.queue.overview_values import SubscriptionStanding
from relayd.queue.sqlite import contents, overview, statistics
from relayd.queue.sqlite.overview import count_due, read_overview
from relayd.queue.sqlite.read_only import Reading, open_reading

NOW = START + 321
BOOKS, SHOP = "https://books.example/", "https://shop.example/"


def test_what_waits_and_for_what(reading: Reading, path: Path) -> None:
    found = read_overview(reading, path, now=NOW)
    assert [each.url for each in found.endpoints] == [BOOKS, SHOP]
    books, shop = (each.subscriptions for each in found.endpoints)
    assert books == (
        SubscriptionStanding("books", BOOKS, None, 1, START + 321, START + 321, exhausted=1),
    )
    since = read_overview(reading, path, now=NOW, since=0.0).endpoints[0].subscriptions[0]
    assert (since.exhausted, since.exhausted_since) == (1, 1)
    later = read_overview(reading, path, now=NOW, since=NOW).endpoints[0].subscriptions[0]
    assert (later.exhausted, later.exhausted_since) == (1, 0)
    # evt_1 failed at START + 100, and is due two minutes later.
    assert shop == (
        SubscriptionStanding("shop", SHOP, None, 1, START + 100, START + 220, retrying=1),
    )
    assert count_due(reading, now=NOW) == {BOOKS: 1, SHOP: 1}
    assert count_due(reading, now=START + 200) == {}
    queue = found.queue
    assert (queue.deliveries, queue.waiting, queue.rejected) == (5, 2, 0)
    assert queue.oldest_event_at == START
    assert queue.size_bytes >= path.stat().st_size


def test_what_came_of_the_attempts(reading: Reading, path: Path) -> None:
    books, shop = (each.tallies for each in read_overview(reading, path, now=NOW).endpoints)
    assert (books.last_hour.delivered, books.last_hour.failed, books.last_hour.exhausted) == (
        0,
        2,
        1,
    )
    assert books.last_hour.response_s(0.5) == pytest.approx(0.25, rel=0.1)
    assert (shop.last_day.delivered, shop.last_day.failed) == (2, 1)
    later = read_overview(reading, path, now=NOW + 2 * 3600)
    assert [each.tallies.last_hour.attempts for each in later.endpoints] == [0, 0]
    assert [each.tallies.last_day.attempts for each in later.endpoints] == [2, 3]
    later = read_overview(reading, path, now=NOW + 2 * 86_400)
    assert [each.tallies.last_day.attempts for each in later.endpoints] == [0, 0]


def test_holds_and_health_bear_on_the_next_attempt(path: Path) -> None:
    change(
        path,
        "INSERT OR REPLACE INTO endpoints"
        " (url, failures, failing_since, last_failure, release, released_at, held_until) VALUES"
        f" ('{SHOP}', 0, NULL, '', 9, {START + 150}, 0.0),"
        f" ('{BOOKS}', 5, 1.0, 'refused', 0, NULL, {START + 900})",
    )
    with open_reading(path) as opened:
        books, shop = read_overview(opened, path, now=NOW).endpoints
        # What failed before the endpoint recovered is due since then.
        assert shop.subscriptions[0].next_due_at == START + 150
        assert books.subscriptions[0].next_due_at == START + 900
        assert books.health == Health(
            failures=5, failing_since=1.0, last_failure="refused", held_until=START + 900
        )
    change(path, "UPDATE subscriptions SET paused_at = 1.0 WHERE name = 'shop'")
    change(path, "UPDATE subscriptions SET presence = 'removed' WHERE name = 'books'")
    with open_reading(path) as opened:
        books, shop = read_overview(opened, path, now=NOW).endpoints
        assert shop.subscriptions[0].hold is Hold.PAUSED
        assert shop.subscriptions[0].next_due_at is None
        assert shop.subscriptions[0].waiting == 1
        assert books.subscriptions[0].hold is Hold.REMOVED
        assert count_due(opened, now=NOW) == {}
    change(
        path,
        "UPDATE deliveries SET state = 'cancelled', due_at = NULL, ended_at = 1.0"
        " WHERE due_at IS NOT NULL",
    )
    with open_reading(path) as opened:
        # Gone, and nothing waits for it: it is shown as long as something exhausted is kept.
        both = [each.url for each in read_overview(opened, path, now=NOW).endpoints]
        assert both == [BOOKS, SHOP]
    change(path, "UPDATE deliveries SET state = 'cancelled' WHERE state = 'exhausted'")
    with open_reading(path) as opened:
        assert [each.url for each in read_overview(opened, path, now=NOW).endpoints] == [SHOP]


@pytest.mark.parametrize("released", ["operator", "recovery"])
def test_a_retry_behind_another_is_not_due_whatever_released_it(path: Path, released: str) -> None:
    if released == "operator":
        change(path, f"UPDATE subscriptions SET release = 9, released_at = {START + 150}")
    else:
        change(
            path,
            "INSERT INTO endpoints (url, failures, last_failure, release, released_at, held_until)"
            f" VALUES ('{SHOP}', 0, '', 9, {START + 150}, 0.0)",
        )
    with open_reading(path) as opened:
        assert count_due(opened, now=START + 200)[SHOP] == 1
    change(path, "UPDATE deliveries SET order_key = 'a', behind = 1 WHERE state = 'retrying'")
    with open_reading(path) as opened:
        _, shop = read_overview(opened, path, now=NOW).endpoints
        assert shop.subscriptions[0].next_due_at is None
        assert SHOP not in count_due(opened, now=START + 200)


def test_nothing_that_has_ended_is_read(reading: Reading) -> None:
    for sql, values in (
        (overview._WAITING, ()),
        (overview._DUE, {"now": 1.0}),
        (overview._ACCEPTED, (1,)),
        (statistics._SUM, (300, 0, 1)),
    ):
        plan = [row[3] for row in reading.db.execute(f"EXPLAIN QUERY PLAN {sql}", values)]
        assert not [line for line in plan if line.startswith("SCAN") and line != "SCAN s"], plan


def test_what_is_exhausted_is_counted_in_its_index_alone(reading: Reading) -> None:
    for since in ("0", overview._EXHAUSTED_SINCE):
        sql = overview._EXHAUSTED.format(since=since)
        rows = reading.db.execute(f"EXPLAIN QUERY PLAN {sql}", {"since": 1.0})
        plan = [row[3] for row in rows if "d " in row[3] or "deliveries" in row[3]]
        assert plan
        index = r"SEARCH d USING (COVERING )?INDEX deliveries_exhausted \(sub"  # as SQLite's version says
        assert all(re.match(index, line) for line in plan), plan
        # No row is read: each would be a seek in the table of all that have ended.
        operations = [row[1] for row in reading.db.execute(f"EXPLAIN {sql}", {"since": 1.0})]
        assert not {"Seek", "SeekRowid", "NotExists"} & {*operations}


def test_one_that_keeps_its_place_is_counted_as_exhausted_by_its_time(path: Path) -> None:
    change(path, "UPDATE deliveries SET order_key = 'a' WHERE state = 'exhausted'")
    with open_reading(path) as opened:
        for since, expected in ((0.0, 1), (NOW, 0)):
            books, _ = read_overview(opened, path, now=NOW, since=since).endpoints
            [found] = books.subscriptions
            assert (found.exhausted, found.exhausted_since) == (1, expected)


def test_what_fills_the_queue_is_found_by_seeks(reading: Reading) -> None:
    for sql in (contents._EVENT_SAMPLE, contents._ATTEMPT_SAMPLE):
        plan = [row[3] for row in reading.db.execute(f"EXPLAIN QUERY PLAN {sql}", {"seqs": "[1]"})]
        assert not [
            line
            for line in plan
            if line.startswith("SCAN") and "json_each" not in line and "wanted" not in line
        ], plan
    found = contents.read_contents(reading.db)
    assert found.events > 0
    assert found.attempts > 0


def test_what_fills_the_queue_costs_the_same_in_a_large_one(path: Path) -> None:
    change(
        path,
        "WITH RECURSIVE n (i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n LIMIT 20000)"
        " INSERT INTO events SELECT i, 'm', 'evt_' || i, 'a.b', i, i, 'socket', x'', x'', i, 'order_' || i FROM n",
    )
    instructions = 0

    def count() -> int:
        nonlocal instructions
        instructions += 1
        return 0

    with open_reading(path) as opened:
        opened.db.set_progress_handler(count, 1)
        contents.read_contents(opened.db)
    assert instructions < 20_000, "of which a look at each event would take more"


def test_what_was_counted_while_the_clock_was_ahead_is_not_of_the_last_hour(path: Path) -> None:
    with open_reading(path) as opened:
        assert statistics.read_tallies(opened.db, now=NOW) != {}
        assert statistics.read_tallies(opened.db, now=START - 31 * 86_400.0) == {}
