"""What orders events: the key at a path, which paths can be used, and how long one can block."""

from typing import Any

import pytest

from relayd.core.json_text import HugeNumber
from relayd.core.matching import Matcher, Matches, Selection
from relayd.core.order import key_of_values, longest_block_s, order_by, order_problem


@pytest.mark.parametrize(
    ("value", "key"),
    [
        ("order_456", "order_456"),
        (456, "456"),
        ("456", "456"),
        (4.5, "4.5"),
        (True, None),
        (None, None),
        ("", None),
        ({}, None),
        ([1], None),
        (HugeNumber("1e999"), None),
    ],
)
def test_the_key_is_a_string_or_a_number(value: Any, key: str | None) -> None:
    order = order_by("data.object.id")
    envelope = {"data": {"object": {"id": value}}}
    assert order.key(envelope, {}) == key
    assert order.key({}, {"data.object.id": [value]}) == key


def test_without_a_value_there_is_no_key() -> None:
    assert order_by("data.object.id").key({"data": {}}, {}) is None
    assert order_by("data.object.id").key({}, {"data.object.id": []}) is None


def test_a_key_that_is_long_or_no_text_is_its_digest() -> None:
    long, half = key_of_values(["x" * 257]), key_of_values(["\ud83e"])
    assert long is not None
    assert half is not None
    assert len({long, half, key_of_values(["x" * 258])}) == 3
    assert long.startswith("sha256:")


@pytest.mark.parametrize("path", ["data.object.id", "type", "market_id", "data.object.order.id"])
def test_paths_of_one_value(path: str) -> None:
    assert order_problem(path) is None


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("data.object.items.*.id", "looks into a list"),
        ("data.object.items.0.id", "looks into a list"),
        ("data", "has an object there"),
        ("object.id", "is not a key of an event"),
        ("data..id", "is empty"),
        ("data.object.items[0]", "has no brackets"),
        ("type.x", "has nothing below it"),
    ],
)
def test_paths_by_which_nothing_can_be_ordered(path: str, words: str) -> None:
    assert words in (order_problem(path) or "")


def test_a_failing_event_can_block_its_key_for_its_whole_schedule() -> None:
    assert longest_block_s((60.0, 100.0), 10.0) == pytest.approx(160 * 1.1 + 30)
    assert longest_block_s((), 10.0) == 10.0


def test_an_event_has_a_key_for_each_selection_that_orders_it() -> None:
    matcher = Matcher(
        {
            "books": Selection(("*",), order_by=order_by("data.object.id")),
            "mail": Selection(("*",)),
            "types": Selection(("order.*",), order_by=order_by("type")),
            "others": Selection(("user.*",), order_by=order_by("data.object.name")),
        }
    )
    assert matcher.paths == ("data.object.id", "data.object.name")
    event = {"type": "order.created", "data": {"object": {"id": 7}}}
    expected = Matches(("books", "mail", "types"), (("books", "7"), ("types", "order.created")))
    assert matcher.matches(event) == expected
    values: dict[str, list[object]] = {"data.object.id": [7], "data.object.name": []}
    assert matcher.matches({"type": "order.created"}, values) == expected
