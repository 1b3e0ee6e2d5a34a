"""What commands read: on queue files that the daemon's own code wrote."""

import re
import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import trio
from events import make_event
from written_queue import START, Clock, change

from relayd.core.acceptance import NewEvent
from relayd.core.delivery import State
from relayd.core.hold import Hold
from relayd.database import sqlite_loop
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.snapshot_values import QueueUnreadableError
from relayd.queue.sqlite.deliveries import _LOAD, list_deliveries
from relayd.queue.sqlite.details import find
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.query_plan import query_for
from relayd.queue.sqlite.read_only import Reading, open_reading
from relayd.queue.sqlite.schema import APPLICATION_ID
from relayd.queue.sqlite.tables import VERSION
from relayd.queue.values import Declared


def listed(reading: Reading, wanted: DeliveryFilter, limit: int = 50) -> list[tuple[str, str, str]]:
    page = list_deliveries(reading, wanted, limit)
    return [(each.event_id, each.subscription, each.state.value) for each in page.deliveries]


ALL = [
    ("evt_3", "shop", "delivered"),
    ("evt_3", "books", "pending"),
    ("evt_2", "books", "exhausted"),
    ("evt_1", "shop", "retrying"),
    ("evt_0", "shop", "delivered"),
]


def test_the_newest_come_first(reading: Reading) -> None:
    assert listed(reading, DeliveryFilter()) == ALL


@pytest.mark.parametrize(
    ("wanted", "positions"),
    [
        (DeliveryFilter(subscriptions=("shop",)), [0, 3, 4]),
        (DeliveryFilter(subscriptions=("shop", "books")), [0, 1, 2, 3, 4]),
        (DeliveryFilter(states=frozenset({State.DELIVERED})), [0, 4]),
        (DeliveryFilter(states=frozenset({State.PENDING, State.RETRYING})), [1, 3]),
        (DeliveryFilter(states=frozenset({State.PENDING, State.EXHAUSTED})), [1, 2]),
        (DeliveryFilter(states=frozenset({State.HELD})), []),
        (DeliveryFilter(types=("payment.*",)), [3]),
        (DeliveryFilter(types=("payment.*", "order.created")), [0, 1, 2, 3, 4]),
        (DeliveryFilter(types=("payment",)), []),
        (DeliveryFilter(types=("*",)), [0, 1, 2, 3, 4]),
        (DeliveryFilter(since=START + 100), [0, 1, 2, 3]),
        (DeliveryFilter(since=START + 100, until=START + 200), [3]),
        (DeliveryFilter(until=START + 100), [4]),
        (DeliveryFilter(states=frozenset({State.RETRYING}), types=("order.*",)), []),
        (DeliveryFilter(states=frozenset({State.RETRYING}), since=START), [3]),
    ],
)
def test_filters(reading: Reading, wanted: DeliveryFilter, positions: list[int]) -> None:
    assert listed(reading, wanted) == [ALL[position] for position in positions]


@pytest.mark.parametrize("wanted", [DeliveryFilter(), DeliveryFilter(since=0.0)], ids=str)
def test_pages_join_without_gap_or_repetition(reading: Reading, wanted: DeliveryFilter) -> None:
    first = list_deliveries(reading, wanted, 2)
    assert first.more
    second = list_deliveries(reading, replace(wanted, before=first.deliveries[-1].seq), 3)
    assert not second.more
    found = [(each.event_id, each.subscription) for each in first.deliveries + second.deliveries]
    assert found == [(event_id, name) for event_id, name, _ in ALL]


def test_an_unknown_subscription_is_no_empty_list(reading: Reading) -> None:
    with pytest.raises(KeyError):
        list_deliveries(reading, DeliveryFilter(subscriptions=("shpo",)), 50)


def test_what_waits_for_a_held_subscription_is_held(path: Path) -> None:
    change(path, "UPDATE subscriptions SET paused_at = 1 WHERE name = 'shop'")
    with open_reading(path) as reading:
        waiting = frozenset({State.PENDING, State.RETRYING})
        assert listed(reading, DeliveryFilter(states=waiting)) == [("evt_3", "books", "pending")]
        held = DeliveryFilter(states=frozenset({State.HELD}))
        assert listed(reading, held) == [("evt_1", "shop", "held")]
        [delivery] = list_deliveries(reading, held, 50).deliveries
        assert delivery.hold is Hold.PAUSED
        assert delivery.due_at is None
        [ended, *_] = list_deliveries(reading, DeliveryFilter(), 1).deliveries
        assert (ended.state, ended.hold) == (State.DELIVERED, None)


def test_fields_of_a_retrying_delivery(reading: Reading) -> None:
    [delivery] = list_deliveries(reading, DeliveryFilter(types=("payment.failed",)), 1).deliveries
    assert re.fullmatch(r"dlv_[0-9a-f]{8}_2", delivery.id)
    assert delivery.accepted_at == START + 100
    assert delivery.due_at == START + 220
    assert delivery.ended_at is None
    assert delivery.attempts == 1
    assert (delivery.last_status, delivery.last_failure) == (500, "status")
    assert delivery.last_started_at == START + 99


def test_whether_recovery_still_releases_a_retry(path: Path) -> None:
    retrying = DeliveryFilter(states=frozenset({State.RETRYING}))
    for used in (False, True):
        change(path, f"UPDATE deliveries SET recovery_used = {used:d}")
        with open_reading(path) as reading:
            [delivery] = list_deliveries(reading, retrying, 5).deliveries
        assert delivery.recovery_used is used


def test_fields_of_a_delivery_without_attempts(reading: Reading) -> None:
    wanted = DeliveryFilter(states=frozenset({State.PENDING}))
    [delivery] = list_deliveries(reading, wanted, 1).deliveries
    assert delivery.attempts == 0
    assert delivery.last_started_at is None
    assert delivery.last_status is None
    assert delivery.last_failure is None


ENDPOINT = (
    "INSERT OR REPLACE INTO endpoints"
    " (url, failures, last_failure, release, released_at, held_until)"
    " VALUES ('https://{}.example/', 0, '', {}, {}, {})"
)


@pytest.mark.parametrize(
    ("release", "released_at", "held_until", "due_at"),
    [
        (0, "NULL", 0.0, START + 220),
        (1, START + 99, 0.0, START + 220),  # before it failed: not released by it
        (9, START + 150, 0.0, START + 150),
        (9, START + 150, START + 180, START + 180),
        (9, START + 500, 0.0, START + 220),
        (0, "NULL", START + 500, START + 500),
    ],
)
def test_due_as_the_endpoint_stands(
    path: Path, release: int, released_at: object, held_until: float, due_at: float
) -> None:
    change(path, ENDPOINT.format("shop", release, released_at, held_until))
    with open_reading(path) as reading:
        wanted = DeliveryFilter(states=frozenset({State.RETRYING}))
        [delivery] = list_deliveries(reading, wanted, 1).deliveries
    assert delivery.due_at == due_at


def test_an_event_with_its_deliveries(reading: Reading) -> None:
    found = find(reading, "evt_3")
    assert found is not None
    assert (found.type, found.source, found.accepted_at) == ("order.created", "socket", START + 321)
    assert found.body == make_event("evt_3").body
    names = [detail.delivery.subscription for detail in found.deliveries]
    assert names == ["books", "shop"]
    assert [len(detail.attempts) for detail in found.deliveries] == [0, 1]


def test_a_delivery_with_each_attempt(reading: Reading) -> None:
    wanted = DeliveryFilter(states=frozenset({State.EXHAUSTED}))
    [delivery] = list_deliveries(reading, wanted, 1).deliveries
    found = find(reading, delivery.id)
    assert found is not None
    assert found.id == "evt_2"
    [detail] = found.deliveries
    assert detail.delivery == delivery
    first, second = detail.attempts
    assert (first.number, second.number) == (1, 2)
    assert second.started_at == START + 319
    assert (first.duration_s, first.status, first.failure) == (0.25, 500, "status")
    assert (first.detail, first.answer) == ("answered 500", b"<h1>no</h1>")


def test_a_body_that_the_retention_removed(path: Path) -> None:
    change(path, "UPDATE events SET body = NULL")
    with open_reading(path) as reading:
        found = find(reading, "evt_0")
    assert found is not None
    assert found.body is None


def test_ids_that_are_not_there(reading: Reading) -> None:
    unknown = [f"dlv_{reading.tag}_{number}" for number in (99, 2**63 - 1, 2**63, 10**18, 10**30)]
    for identifier in ("evt_9", "", "dlv_00000000_1", *unknown):
        assert find(reading, identifier) is None


def test_ids_and_bodies_stay_out_of_reprs(reading: Reading) -> None:
    assert "order_456" not in repr(find(reading, "evt_0"))
    assert "<h1>" not in repr(find(reading, "evt_2"))


def test_reading_writes_nothing(path: Path) -> None:
    before = path.read_bytes()
    with open_reading(path) as reading, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reading.db.execute("DELETE FROM events")
    assert path.read_bytes() == before


async def test_one_state_while_the_daemon_writes(tmp_path: Path) -> None:
    clock = Clock()
    path = tmp_path / "queue.db"
    async with sqlite_loop(), open_queue(path, clock) as queue:
        await queue.declare([Declared("shop", "https://shop.example/", active=True)])
        await queue.accept([NewEvent(make_event("evt_0"), "socket", ("shop",))])
        with open_reading(path) as reading:
            assert len(listed(reading, DeliveryFilter())) == 1
            await queue.accept([NewEvent(make_event("evt_1"), "socket", ("shop",))])
            assert len(listed(reading, DeliveryFilter())) == 1
        with open_reading(path) as reading:
            assert len(listed(reading, DeliveryFilter())) == 2


def unreadable(path: Path) -> str:
    with pytest.raises(QueueUnreadableError) as caught, open_reading(path):
        pass
    assert str(path) in str(caught.value)
    return str(caught.value)


def test_no_queue_is_made(tmp_path: Path) -> None:
    assert "`relayd run` creates it" in unreadable(tmp_path / "queue.db")
    assert not (tmp_path / "queue.db").exists()


def test_files_of_others(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    path.touch()
    assert "has not used it yet" in unreadable(path)
    path.write_text("no database, but long enough to have a header of a hundred bytes" * 9)
    assert "not a SQLite file" in unreadable(path)
    path.unlink()
    change(path, "CREATE TABLE orders (id)")
    assert "another program" in unreadable(path)


@pytest.mark.parametrize(("version", "word"), [(VERSION + 1, "newer"), (VERSION - 1, "older")])
def test_other_versions(path: Path, version: int, word: str) -> None:
    change(path, f"PRAGMA user_version = {version}")
    assert f"{word} relayd" in unreadable(path)


def test_damage_inside_is_told_as_such(path: Path) -> None:
    change(path, "ALTER TABLE deliveries RENAME TO gone")
    with (
        pytest.raises(QueueUnreadableError, match="no such table"),
        open_reading(path) as reading,
    ):
        listed(reading, DeliveryFilter())


MANY = 200_000


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reading]:
    """A queue in which one delivery in a hundred waits, and one event in 1,000 is a payment's."""
    path = tmp_path_factory.mktemp("large") / "queue.db"

    async def make() -> None:
        async with sqlite_loop(), open_queue(path, Clock()) as queue:
            await queue.declare([Declared("shop", "https://shop.example/", active=True)])

    trio.run(make)
    with sqlite3.connect(path) as db:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?)"
            " INSERT INTO events SELECT i, 'market_123', 'evt_' || i,"
            " iif(i % 1000, 'order.created', 'payment.failed'), i, i, 'socket', x'', x'', i, 'order_' || i FROM n",
            (MANY,),
        )
        db.execute(
            "INSERT INTO deliveries SELECT seq, seq, 1, iif(seq % 100, 'delivered', 'retrying'), 1,"
            " 1, seq, iif(seq % 100, NULL, seq), iif(seq % 100, seq, NULL), 0, 0, NULL, NULL FROM events"
        )
    db.close()
    with open_reading(path) as opened:
        yield opened


def plan(reading: Reading, wanted: DeliveryFilter) -> str:
    query = query_for(reading, wanted, 50)
    assert query is not None
    sql, parameters = query
    rows = reading.db.execute(f"EXPLAIN QUERY PLAN {sql}", parameters)
    return "\n".join(detail for *_, detail in rows)


class TestPlans:
    """Over many rows, each query is driven by what keeps it small."""

    WAITING = frozenset({State.PENDING, State.RETRYING, State.HELD})

    def test_all_go_backwards_without_sorting(self, large: Reading) -> None:
        for wanted in (
            DeliveryFilter(),
            DeliveryFilter(subscriptions=("shop",), states=frozenset({State.DELIVERED})),
            DeliveryFilter(types=("order.*",)),
        ):
            found = plan(large, wanted)
            assert "SCAN d" in found or "SEARCH d USING INTEGER PRIMARY KEY (rowid<?)" in found
            assert "TEMP B-TREE FOR ORDER BY" not in plan(large, wanted)

    def test_a_page_starts_at_its_place(self, large: Reading) -> None:
        found = plan(large, DeliveryFilter(before=1000))
        assert "SEARCH d USING INTEGER PRIMARY KEY (rowid<?)" in found

    def test_waiting_reads_the_index_of_what_waits_alone(self, large: Reading) -> None:
        wanted = DeliveryFilter(states=self.WAITING)
        assert "SEARCH d USING COVERING INDEX deliveries_waiting" in plan(large, wanted)
        assert len(list_deliveries(large, wanted, MANY).deliveries) == MANY // 100

    def test_what_was_given_up_reads_its_index_alone(self, large: Reading) -> None:
        given_up = frozenset({State.EXHAUSTED, State.CANCELLED})
        for states in (given_up, frozenset({State.EXHAUSTED})):
            found = plan(large, DeliveryFilter(states=states))
            assert "SCAN d USING COVERING INDEX deliveries_given_up" in found
            assert "TEMP B-TREE FOR ORDER BY" not in found

    def test_what_waits_and_what_was_given_up_come_from_two_indexes(self, large: Reading) -> None:
        wanted = DeliveryFilter(states=frozenset({State.RETRYING, State.EXHAUSTED}))
        found = plan(large, wanted)
        assert "INDEX deliveries_given_up" in found
        assert "INDEX deliveries_waiting" in found
        seqs = [each.seq for each in list_deliveries(large, wanted, 3).deliveries]
        assert seqs == [MANY, MANY - 100, MANY - 200]

    def test_types_of_long_ago_are_not_looked_for_among_the_new(self, large: Reading) -> None:
        old = DeliveryFilter(types=("order.*",), until=MANY / 2)
        query = query_for(large, old, 50)
        assert query is not None
        assert query[1]["newest"] == MANY // 2 - 1
        assert list_deliveries(large, old, 1).deliveries[0].seq == MANY // 2 - 1
        # One that was made later for an old event is found as well.
        nothing = DeliveryFilter(types=("order.*",), since=MANY + 1.0)
        assert list_deliveries(large, nothing, 1).deliveries == ()

    def test_few_events_lead_to_their_deliveries(self, large: Reading) -> None:
        wanted = DeliveryFilter(types=("payment.*",), since=MANY / 2)
        found = plan(large, wanted)
        assert "SEARCH d USING" in found
        assert "INDEX deliveries_of_event (event_seq=?)" in found
        assert len(list_deliveries(large, wanted, MANY).deliveries) == MANY // 2000 + 1

    def test_a_page_is_loaded_by_keys(self, large: Reading) -> None:
        rows = large.db.execute(f"EXPLAIN QUERY PLAN {_LOAD}", ("[1, 2]",))
        scans = [detail for *_, detail in rows if detail.startswith("SCAN")]
        assert scans == ["SCAN json_each VIRTUAL TABLE INDEX 1:"]
