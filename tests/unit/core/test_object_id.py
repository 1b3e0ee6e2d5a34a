"""The id of what an event is about, as text."""

import json
import sqlite3
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.js_json import Parsed, parse_json
from relayd.core.object_id import LONGEST, id_text, object_id_of


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"object": {"id": "order_456"}}, "order_456"),
        ({"object": {"id": 456}}, "456"),
        ({"object": {"id": 4.5}}, "4.5"),
        ({"object": {"id": 456.0}}, "456"),
        ({"object": {"id": "bestellung ä 1"}}, "bestellung ä 1"),
        ({"object": {"id": "x" * LONGEST}}, "x" * LONGEST),
        ({"object": {"id": "x" * (LONGEST + 1)}}, None),
        ({"object": {"id": ""}}, None),
        ({"object": {"id": True}}, None),
        ({"object": {"id": None}}, None),
        ({"object": {"id": ["a"]}}, None),
        ({"object": {"id": "\ud83e"}}, None),
        ({"object": {}}, None),
        ({"object": ["id"]}, None),
        ({}, None),
    ],
)
def test_what_is_at_its_place(data: dict[str, Any], expected: str | None) -> None:
    assert object_id_of(data) == expected


@pytest.mark.parametrize("number", ["1", "-1", "1e21", "9007199254740993", "1e999", "0.1"])
def test_a_number_is_as_in_the_body(number: str) -> None:
    parsed = parse_json(number)
    assert isinstance(parsed, Parsed)
    expected = json.dumps(parsed.value) if number == "0.1" else None
    assert id_text(parsed.value) == (expected or {"1e21": "1e+21"}.get(number, number))


@given(st.text() | st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_a_database_takes_each(value: str | float) -> None:
    db = sqlite3.connect(":memory:")
    text = id_text(value)
    assert db.execute("SELECT ?", (text,)).fetchone() == (text,)
    db.close()
