"""Deliveries and events as people see them, and the documents beside."""

import json
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from listed_deliveries import ATTEMPT, DELIVERED, EVENT, NOW, RETRYING

from relayd.cli.text.deliveries import ChangeLines, table_lines
from relayd.cli.text.event import event_lines
from relayd.core.catalogue import EVENT_TYPES
from relayd.core.delivery import State
from relayd.core.hold import Hold
from relayd.core.shown_json import json_printable
from relayd.queue.snapshot_values import DeliveryDetail, ListedDelivery, Place
from relayd.views.deliveries import InFlight, delivery_document, event_document


@pytest.mark.parametrize(
    ("delivery", "end"),
    [
        (RETRYING, "in 2m (timeout)"),
        (replace(RETRYING, due_at=NOW - 1), "now (timeout)"),
        (replace(RETRYING, state=State.HELD, hold=Hold.PAUSED, due_at=None), "paused"),
        (
            replace(RETRYING, last_failure=None, last_cause=None, last_started_at=None, due_at=NOW),
            "now",
        ),
        (DELIVERED, "204"),
        (replace(DELIVERED, state=State.EXHAUSTED, last_status=500, last_failure="status"), "500"),
        (replace(RETRYING, last_failure="name", last_cause="name"), "in 2m (host not found)"),
        (replace(RETRYING, last_failure="connect", last_cause="refused"), "in 2m (refused)"),
        (replace(RETRYING, last_failure="tls", last_cause="no_tls"), "in 2m (no TLS)"),
        (replace(DELIVERED, state=State.CANCELLED, last_status=None, attempts=0), "cancelled    0"),
    ],
)
def test_what_is_next_or_was_last(delivery: ListedDelivery, end: str) -> None:
    _, line, _ = table_lines([delivery], NOW)
    assert line.endswith(f" {end}")


OLD = InFlight("https://old.example/…", left=True)
HERE = InFlight("https://app.example/…", left=False)


@pytest.mark.parametrize(
    ("delivery", "place", "end", "words"),
    [
        (
            RETRYING,
            HERE,
            " in flight (timeout)",
            "retrying, an attempt is in flight at https://app",
        ),
        (RETRYING, OLD, " in flight, old URL", "/…, a URL that its subscription has left"),
        (
            replace(RETRYING, last_failure=None, last_cause=None),
            HERE,
            " in flight",
            "in flight at https://app.ex",
        ),
        (
            replace(RETRYING, state=State.HELD, hold=Hold.PAUSED, due_at=None),
            OLD,
            " in flight, old URL",
            "held: its subscription is paused; an attempt is in flight at https://old.example/…",
        ),
    ],
)
def test_what_is_in_flight_is_not_shown_as_due(
    delivery: ListedDelivery, place: InFlight, end: str, words: str
) -> None:
    in_flight = {delivery.seq: place}
    _, line, _ = table_lines([delivery], NOW, in_flight)
    assert line.endswith(end)
    event = replace(EVENT, deliveries=(DeliveryDetail(delivery, ()),))
    shown = " ".join(" ".join(event_lines(event, NOW, in_flight, pretty=False)).split())
    assert words in shown
    document = delivery_document(delivery, in_flight)
    assert document["in_flight"] is True
    assert document["in_flight_at"] == place.endpoint
    assert document["in_flight_at_old_url"] is place.left


def test_what_is_due_may_be_in_flight_where_the_daemon_does_not_say() -> None:
    due = replace(RETRYING, due_at=NOW - 1)
    event = replace(EVENT, deliveries=(DeliveryDetail(due, ()),))
    words = "bookkeeping: retrying, the next attempt is due"
    assert f"{words}, or in flight" in list(event_lines(event, NOW, pretty=False))
    assert words in list(event_lines(event, NOW, {}, pretty=False))


def test_the_table_fits_80_columns_with_every_known_type() -> None:
    rows = [replace(RETRYING, event_type=event_type) for event_type in EVENT_TYPES]
    lines = list(table_lines([*rows, DELIVERED], NOW))
    assert max(map(len, lines)) <= 80
    states = {line[lines[0].index("STATE") :].split()[0] for line in lines[1::2]}
    assert states == {"retrying", "delivered"}


def test_an_event_for_people() -> None:
    lines = list(event_lines(EVENT, NOW, pretty=False))
    assert r'{"id":"evt_1","data":{"name":"\u009b\u202eZoë"}}' in lines
    assert any(line.startswith("bookkeeping: retrying, the next attempt at ") for line in lines)
    assert any(line.endswith("timeout: no answer within 10 s") for line in lines)
    pretty = list(event_lines(EVENT, NOW, pretty=True))
    assert r'    "name": "\u009b\u202eZoë"' in pretty


def test_an_event_that_nobody_wanted_and_whose_body_is_gone() -> None:
    lines = list(event_lines(replace(EVENT, body=None, deliveries=()), NOW, pretty=True))
    assert "No subscription matched it." in lines
    assert any("removed after the retention" in line for line in lines)


@pytest.mark.parametrize(
    ("delivery", "words"),
    [
        (
            replace(RETRYING, state=State.HELD, hold=Hold.GONE, due_at=None),
            "its receiver answered 410",
        ),
        (replace(RETRYING, state=State.PENDING, due_at=NOW), "pending, the first attempt is due"),
        (DELIVERED, "delivered at "),
    ],
)
def test_states_in_words(delivery: ListedDelivery, words: str) -> None:
    event = replace(EVENT, deliveries=(DeliveryDetail(delivery, ()),))
    assert any(words in line for line in event_lines(event, NOW, pretty=False))


def test_an_answer_moves_no_cursor() -> None:
    attempt = replace(ATTEMPT, status=500, answer=b"a\r\n\x1b]0;title\x07\n\xff")
    event = replace(EVENT, deliveries=(DeliveryDetail(RETRYING, (attempt,)),))
    lines = list(event_lines(event, NOW, pretty=False))
    assert all(line.isprintable() for line in lines)
    assert "       | a" in lines


@given(st.recursive(st.text() | st.integers(), lambda inner: st.dictionaries(st.text(), inner)))
def test_shown_json_is_still_the_same_json(value: object) -> None:
    text = json.dumps(value, ensure_ascii=False)
    shown = json_printable(text)
    assert shown.isprintable()
    assert json.loads(shown) == value


def test_lines_of_changes_stand_in_columns_that_grow() -> None:
    changes = ChangeLines()
    [first] = changes.lines(RETRYING, NOW)
    assert re.fullmatch(r"\d\d:\d\d:\d\d \S+", first[: first.index("  ")])  # with the zone
    assert first.split()[2:] == [
        *("retrying", "bookkeeping", "order.created", "dlv_9f3a1c02_17", "1", "timeout"),
    ]
    longer = replace(DELIVERED, subscription="a-longer-name-of-one", id="dlv_9f3a1c02_1234567")
    [second], [third] = changes.lines(longer, NOW), changes.lines(RETRYING, NOW)
    assert second.endswith("  1  204")
    assert second.index("order.created") == third.index("order.created") > first.index("order.c")
    assert len(first) <= 80
    held = replace(RETRYING, state=State.HELD, hold=Hold.PAUSED)
    assert next(iter(changes.lines(held, NOW))).endswith("  1  paused")


def test_a_change_that_does_not_fit_has_two_lines_from_then_on() -> None:
    changes = ChangeLines(80)
    assert len(list(changes.lines(RETRYING, NOW))) == 1
    for event_type in EVENT_TYPES:
        each = replace(RETRYING, event_type=event_type, subscription="bookkeeping-of-the-shop")
        first, second = changes.lines(each, NOW)
        assert first.split()[2:] == ["retrying", "1", "timeout"]
        assert second.split() == ["bookkeeping-of-the-shop", event_type, "dlv_9f3a1c02_17"]
        assert max(len(first), len(second)) <= 80
    assert len(list(changes.lines(RETRYING, NOW))) == 2


def test_an_integer_of_any_length_is_shown_as_it_was_sent() -> None:
    # Python refuses to read more than 4,300 digits.
    digits = "7" * 5_000
    event = replace(EVENT, body=f'{{"data":{{"n":{digits}}}}}'.encode())
    for pretty in (True, False):
        assert any(digits in line for line in event_lines(event, NOW, pretty=pretty))
    assert digits in json.dumps(event_document(event))


def test_a_delivery_that_is_behind_another_says_so_within_80_columns() -> None:
    behind = replace(
        RETRYING,
        state=State.PENDING,
        event_type="order.payment_processed",
        attempts=0,
        due_at=None,
        place=Place("order_1", "dlv_9f3a1c02_16", "dlv_9f3a1c02_15"),
    )
    lines = list(table_lines([behind], NOW))
    assert lines[1].endswith("behind another")
    assert lines[3].strip() == "behind dlv_9f3a1c02_16"
    assert max(map(len, lines)) <= 80
