"""Events as `events` lists them, from a queue that the daemon's own code wrote."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
import trio
from events import make_event
from written_queue import START, write_queue

from relayd.core.acceptance import NewEvent
from relayd.core.delivery import State
from relayd.database import sqlite_loop
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.event_filter import EventFilter
from relayd.queue.snapshot import Snapshot
from relayd.queue.sqlite import events
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.reader import SQLiteReader
from relayd.queue.values import Horizon
from relayd.views.events import became_of, event_page_document


async def _write(path: Path) -> None:
    await write_queue(path)
    async with sqlite_loop(), open_queue(path, lambda: START + 400) as queue:
        about = {"object": {"id": 17}}
        await queue.accept([NewEvent(make_event("evt_4", "user.created", about), "socket", ())])
        await queue.accept([NewEvent(make_event("evt_5", "user.created", {"a": 1}), "socket", ())])
        # Of evt_0's deliveries one has not ended.
        await queue.cancel([1])


@pytest.fixture(scope="module")
def reading(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Snapshot]:
    path = tmp_path_factory.mktemp("listed") / "queue.db"
    trio.run(_write, path)
    with SQLiteReader(path).snapshot() as found:
        yield found


def listed(reading: Snapshot, wanted: EventFilter, limit: int = 100) -> list[str]:
    return [each.id for each in reading.list_events(wanted, limit).events]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (EventFilter(types=("order.*",)), [3, 2, 0]),
        (EventFilter(types=("user.create",)), []),
        (EventFilter(types=("use.*",)), []),
        (EventFilter(), [5, 4, 3, 2, 1, 0]),
        (EventFilter(types=("user.*",)), [5, 4]),
        (EventFilter(types=("payment.failed", "user.created")), [5, 4, 1]),
        (EventFilter(object_id="order_456"), [3, 2, 1, 0]),
        (EventFilter(object_id="17"), [4]),
        (EventFilter(object_id="1"), []),
        (EventFilter(unmatched=True), [5, 4]),
        (EventFilter(unmatched=True, object_id="17"), [4]),
        (EventFilter(since=START + 200), [5, 4, 3, 2]),
        (EventFilter(since=START + 200, until=START + 321), [2]),
        (EventFilter(until=START + 100), [0]),
        (EventFilter(market="market_123", types=("user.*",)), [5, 4]),
        (EventFilter(market="market_9"), []),
        (EventFilter(before=3), [1, 0]),
        (EventFilter(before=3, object_id="order_456"), [1, 0]),
    ],
)
def test_what_a_filter_lists(reading: Snapshot, wanted: EventFilter, expected: list[int]) -> None:
    assert listed(reading, wanted) == [f"evt_{number}" for number in expected]


def test_a_page_says_whether_there_are_older_ones_and_leads_to_them(reading: Snapshot) -> None:
    page = reading.list_events(EventFilter(), 4)
    assert page.more
    assert event_page_document(page)["older_before"] == "evt_2"
    before = reading.event_number("evt_2")
    older = reading.list_events(EventFilter(before=before), 4)
    assert [each.id for each in older.events] == ["evt_1", "evt_0"]
    assert event_page_document(older)["older_before"] is None
    assert reading.event_number("evt_9") is None


def test_a_bounded_look_says_how_far_it_looked_and_the_next_page_goes_on_from_there(
    reading: Snapshot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_NEWEST", 1)
    found: list[str] = []
    before, looked_to = None, []
    while True:
        wanted = EventFilter(market="market_123", unmatched=True, before=before, most=2)
        page = reading.list_events(wanted, 100)
        found += [each.id for each in page.events]
        if page.last is None:
            break
        assert page.more
        looked_to.append(page.last.id)
        assert event_page_document(page)["older_before"] == page.last.id
        before = reading.event_number(page.last.id)
    assert looked_to == ["evt_4", "evt_2"]
    assert found == ["evt_5", "evt_4"]


def test_a_bounded_look_is_for_what_no_index_helps_with(reading: Snapshot) -> None:
    page = reading.list_events(EventFilter(object_id="order_456", most=1), 100)
    assert [each.id for each in page.events] == ["evt_3", "evt_2", "evt_1", "evt_0"]
    assert not page.more


@pytest.mark.parametrize("newest", [1, 2, 5_000])
def test_where_it_looks_first_changes_nothing(
    reading: Snapshot, monkeypatch: pytest.MonkeyPatch, newest: int
) -> None:
    monkeypatch.setattr(events, "_NEWEST", newest)
    for wanted in (EventFilter(), EventFilter(types=("order.*",)), EventFilter(since=START + 90)):
        whole = reading.list_events(wanted, 100)
        page = reading.list_events(wanted, 2)
        assert page.events == whole.events[:2]
        assert page.more is (len(whole.events) > 2)


def test_an_event_says_what_became_of_its_deliveries(reading: Snapshot) -> None:
    found = reading.list_events(EventFilter(), 100).events
    assert {each.id: became_of(each) for each in found} == {
        "evt_5": "matched no subscription",
        "evt_4": "matched no subscription",
        "evt_3": "1 pending, 1 delivered",
        "evt_2": "1 exhausted",
        "evt_1": "1 retrying",
        "evt_0": "1 delivered",
    }
    assert all(newer.sequence > older.sequence for newer, older in pairwise(found))


def test_the_document_of_an_event(reading: Snapshot) -> None:
    page = reading.list_events(EventFilter(object_id="17"), 100)
    assert event_page_document(page) == {
        "events": [
            {
                "id": "evt_4",
                "type": "user.created",
                "market_id": "market_123",
                "object_id": "17",
                "sequence": int((START + 400) * 1e6),
                "accepted_at": "2023-11-14T22:20:00.000Z",
                "accepted_at_unix": START + 400,
                "source": "socket",
                "kept": True,
                "deliveries": {},
            }
        ],
        "older_before": None,
    }


def test_deliveries_are_found_by_their_objects_id(reading: Snapshot) -> None:
    wanted = DeliveryFilter(object_id="order_456")
    page = reading.list_deliveries(wanted, 100)
    assert len(page.deliveries) == 5
    assert all(wanted.matches(each) for each in page.deliveries)
    exhausted = DeliveryFilter(object_id="order_456", states=frozenset({State.EXHAUSTED}))
    assert [each.event_id for each in reading.list_deliveries(exhausted, 100).deliveries] == [
        "evt_2"
    ]
    assert reading.list_deliveries(DeliveryFilter(object_id="17"), 100).deliveries == ()
    assert not DeliveryFilter(object_id="17").matches(page.deliveries[0])


async def test_an_event_of_which_only_the_id_is_left_is_not_called_unmatched(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.db"
    async with sqlite_loop(), open_queue(path, lambda: START) as queue:
        await queue.declare([])
        await queue.accept([NewEvent(make_event("evt_1"), "socket", ())])
        await queue.prune(Horizon(START + 1, START - 1), [1])
    with SQLiteReader(path).snapshot() as reading:
        assert listed(reading, EventFilter(unmatched=True)) == []
        [event] = reading.list_events(EventFilter(), 1).events
        assert became_of(event) == "only its id is kept"
