"""Reading `where`: every problem at once, each at its place, with what would be right."""

import datetime as dt
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.where import ENVELOPE_KEYS, ConditionErrors, Location, compile_where


def problems(where: Mapping[str, object]) -> dict[Location, str]:
    with pytest.raises(ConditionErrors) as caught:
        compile_where(where)
    assert len(dict(caught.value.problems)) == len(caught.value.problems)
    return dict(caught.value.problems)


def the_problem(where: Mapping[str, object]) -> tuple[Location, str]:
    ((location, text),) = problems(where).items()
    return location, text


def test_nothing_is_no_condition() -> None:
    assert compile_where({}) == ()


def test_conditions_come_in_the_order_written() -> None:
    paths = ["data.object.b", "type", "data.object.a", "data.object.items.*.id"]
    assert [condition.path for condition in compile_where(dict.fromkeys(paths, 1))] == paths


@pytest.mark.parametrize("key", ENVELOPE_KEYS)
def test_each_key_of_the_event_can_begin_a_path(key: str) -> None:
    assert compile_where({key: "x"})[0].path == key


def test_all_problems_are_told_at_once() -> None:
    found = problems(
        {
            "total": {"gte": 5},
            "data.object.total": {"gtee": 1, "lt": True, "not": {"glob": 5, "exists": "yes"}},
            "data.object.status": ["paid", [1], {"a": 1}],
            "data.object.fine": 1,
        }
    )
    assert set(found) == {
        ("total",),
        ("data.object.total", "gtee"),
        ("data.object.total", "lt"),
        ("data.object.total", "not", "glob"),
        ("data.object.total", "not", "exists"),
        ("data.object.status", 1),
        ("data.object.status", 2),
    }


@pytest.mark.parametrize(
    ("path", "hint"),
    [
        ("dta.object.total", "did you mean data.object.total?"),
        ("market", "did you mean market_id?"),
        ("total", "as in data.object.total"),
        ("object.total", "as in data.object.total"),
        ("*", "no key of an event"),
        ("*.object", "no key of an event"),
        ("", "a part of this one is empty"),
        ("data..total", "a part of this one is empty"),
        ("data.object.", "a part of this one is empty"),
        ("type.order", "write type alone"),
    ],
)
def test_a_path_that_finds_nothing_ever(path: str, hint: str) -> None:
    location, text = the_problem({path: 1})
    assert location == (path,)
    assert hint in text


def test_a_path_that_is_no_text() -> None:
    # The type forbids it, and YAML does not.
    where: Mapping[str, object] = {5: 1, None: 1}  # type: ignore[dict-item] # as YAML reads it
    assert set(problems(where)) == {(5,), ("None",)}


@pytest.mark.parametrize(
    ("operator", "hint"),
    [
        ("gtee", "did you mean gte?"),
        ("exist", "did you mean exists?"),
        ("nott", "did you mean not?"),
        ("globb", "did you mean glob?"),
        (">=", "did you mean gte?"),
        ("<", "did you mean lt?"),
        ("!=", "did you mean not?"),
        ("eq", "write the value"),
        ("in", "a list of them"),
        ("object", "data.order.object"),
        ("object", "there are gt, gte, lt, lte, not, exists and glob"),
    ],
)
def test_an_operator_that_is_none(operator: str, hint: str) -> None:
    location, text = the_problem({"data.order": {operator: 1}})
    assert location == ("data.order", operator)
    assert hint in text


def test_an_operator_that_is_no_text() -> None:
    location, text = the_problem({"data.order": {True: 1}})
    assert location == ("data.order", True)
    assert "no operator" in text


@pytest.mark.parametrize(
    ("wanted", "location", "hint"),
    [
        ([], (), "matches nothing"),
        ({}, (), "no operator is here"),
        ([1, [2]], (1,), "must be text, a number"),
        ({"gt": None}, ("gt",), "one number, or text"),
        ({"gt": False}, ("gt",), "one number, or text"),
        ({"lte": [1]}, ("lte",), "one number, or text"),
        ({"lte": float("nan")}, ("lte",), "no JSON number"),
        (float("inf"), (), "no JSON number"),
        ([1, float("-inf")], (1,), "no JSON number"),
        (dt.date(2024, 1, 15), (), 'put it in "quotes"'),
        ({"gte": dt.date(2024, 1, 15)}, ("gte",), "one number, or text"),
        (b"bytes", (), 'put it in "quotes"'),
        ({"exists": 1}, ("exists",), "true or false"),
        ({"glob": 1}, ("glob",), "shell pattern"),
        ({"not": []}, ("not",), "matches nothing"),
        ({"not": [1, {}]}, ("not", 1), "must be text, a number"),
        ({"not": {"gt": {}}}, ("not", "gt"), "one number, or text"),
    ],
)
def test_what_cannot_be_found(wanted: object, location: Location, hint: str) -> None:
    where, text = the_problem({"data.x": wanted})
    assert where == ("data.x", *location)
    assert hint in text


def test_endless_not_is_refused_and_not_followed() -> None:
    wanted: object = 1
    for _ in range(100_000):
        wanted = {"not": wanted}
    location, text = the_problem({"data.x": wanted})
    assert set(location[1:]) == {"not"}
    assert "too many" in text


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.dates(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["gt", "lte", "not", "exists", "glob", "nope"]), inner, max_size=3
        )
    ),
)


@given(
    st.dictionaries(
        st.lists(st.sampled_from(["data", "type", "*", "0", "", "x"])).map(".".join), json_like
    )
)
def test_anything_is_read_or_refused_at_its_place(where: dict[str, object]) -> None:
    found: tuple[tuple[Location, str], ...] = ()
    try:
        conditions = compile_where(where)
    except ConditionErrors as error:
        found = error.problems
    else:
        assert [condition.path for condition in conditions] == list(where)
        return
    assert found
    for location, text in found:
        assert text
        place: object = where
        for step in location:
            assert isinstance(place, dict | list)
            place = place[step]  # type: ignore[index] # a key of the one, a position of the other
