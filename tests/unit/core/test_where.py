"""Reading `where`: every problem at once, each at its place, with what would be right."""

import datetime as dt
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.conditions import Order
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
    assert [condition.path for condition in compile_where(dict.fromkeys(paths, "1"))] == paths


@pytest.mark.parametrize("key", ENVELOPE_KEYS)
def test_each_key_of_the_event_can_begin_a_path(key: str) -> None:
    assert compile_where({key: {"exists": True}})[0].path == key


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
        ("*", "not a key of an event"),
        ("*.object", "not a key of an event"),
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
        ("object", "the operators are gt, gte, lt, lte, not, exists and glob"),
    ],
)
def test_an_operator_that_is_none(operator: str, hint: str) -> None:
    location, text = the_problem({"data.order": {operator: 1}})
    assert location == ("data.order", operator)
    assert hint in text


def test_an_operator_that_is_no_text() -> None:
    location, text = the_problem({"data.order": {True: 1}})
    assert location == ("data.order", True)
    assert "not an operator" in text


@pytest.mark.parametrize(
    ("wanted", "location", "hint"),
    [
        ([], (), "matches nothing"),
        ({}, (), "there is no operator"),
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
    assert "nested too deeply" in text


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


@pytest.mark.parametrize(
    ("wanted", "meant"),
    [
        (">5000", "{gt: 5000}"),
        (">= 5000", "{gte: 5000}"),
        (" < 5.5 ", "{lt: 5.5}"),
        ("<=-5", "{lte: -5}"),
        ("\u22655000", "{gte: 5000}"),
        ("!=5", "{not: 5}"),
        ("<>5", "{not: 5}"),
        ("=5", "write 5"),
        ("==5", "write 5"),
    ],
)
@pytest.mark.parametrize("form", ["alone", "listed", "negated", "ordered"])
def test_a_comparison_written_as_text_is_refused(wanted: str, meant: str, form: str) -> None:
    operand: dict[str, object] = {
        "alone": {"data.object.total": wanted},
        "listed": {"data.object.total": [1, wanted]},
        "negated": {"data.object.total": {"not": wanted}},
        "ordered": {"data.object.total": {"gte": wanted}},
    }[form]  # type: ignore[assignment]  # each is a mapping
    with pytest.raises(ConditionErrors) as caught:
        compile_where(operand)
    assert meant in str(caught.value)
    assert "letter by letter" in str(caught.value)


@pytest.mark.parametrize("wanted", [">", "> a", "5>4", "=>5", "<5>", "->5", {"glob": "[>]5000"}])
def test_other_text_may_hold_such_signs(wanted: object) -> None:
    assert len(compile_where({"data.object.note": wanted})) == 1


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("data.object.items[].x", "data.object.items.*.x"),
        ("data.object.items[*].x", "data.object.items.*.x"),
        ("data.object.items[0].x", "data.object.items.0.x"),
        ("data.object.items[][0]", "data.object.items.*.0"),
        ('data["object"].total', "data.object.total"),
        ("data['object']['total']", "data.object.total"),
    ],
)
def test_brackets_in_a_path_are_refused(path: str, meant: str) -> None:
    with pytest.raises(ConditionErrors) as caught:
        compile_where({path: 5})
    assert f"write {meant}" in str(caught.value)
    assert len(compile_where({meant: 5})) == 1


@pytest.mark.parametrize(
    ("where", "said"),
    [
        ({"created": "2024-01-01"}, 'is a number of Unix seconds, and never "2024-01-01"'),
        ({"created": True}, "never true"),
        ({"created": {"gte": "2024"}}, "is a number of Unix seconds"),
        ({"created": {"glob": "2024*"}}, "glob matches text"),
        ({"market_id": 5}, "is text, and never 5; put it in quotes"),
        ({"type": [1, 2]}, "never 1 or 2"),
        ({"id": {"gt": 5}}, "is text"),
        ({"api_version": None}, "never null"),
        ({"data": "x"}, "what is in it has a path"),
        ({"data": {"gte": 5}}, "is an object"),
        ({"data.object.total": {"gte": 6, "lte": 5}}, "both gte 6 and lte 5"),
        ({"data.object.total": {"gt": 5, "lt": 5}}, "both gt 5 and lt 5"),
        ({"data.object.total": {"gt": 5, "lte": 5}}, "both gt 5 and lte 5"),
        ({"data.object.name": {"gt": "b", "lt": "a"}}, 'both gt "b" and lt "a"'),
        ({"data.object.items.*.n": {"gte": 6, "lte": 5}}, "both gte 6 and lte 5"),
        ({"data.object.total": {"gte": 5, "lte": "a"}}, "both a number and text"),
        ({"data.object.total": {"gte": 5, "glob": "a*"}}, "both a number and text"),
        ({"data.object.total": {"gte": 5, "exists": False}}, "missing cannot be compared"),
    ],
)
def test_what_no_event_satisfies_is_refused(where: dict[str, object], said: str) -> None:
    with pytest.raises(ConditionErrors) as caught:
        compile_where(where)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "where",
    [
        {"created": {"gte": 1640995200, "lt": 1640995201}},
        {"created": [1640995200.0, "x"]},
        {"market_id": ["a", 5]},
        {"data": {"exists": True}},
        {"data.object.total": {"gte": 5, "lte": 5}},
        {"data.object.note": {"exists": False, "not": 5}},
        {"data.object.note": {"gte": "a", "glob": "a*"}},
        {"data.created": "2024-01-01"},
    ],
)
def test_what_some_event_satisfies_is_not(where: dict[str, object]) -> None:
    assert len(compile_where(where)) == 1


@given(
    st.sampled_from(["gt", "gte", "lt", "lte"]),
    st.sampled_from(["gt", "gte", "lt", "lte"]),
    st.integers(-3, 3),
    st.integers(-3, 3),
)
def test_a_range_is_refused_when_it_holds_no_number(
    one: str, other: str, first: int, second: int
) -> None:
    wanted = {one: first} | {other: second}
    tried = [n / 2 for n in range(-20, 21)]
    checks = [Order(name, operand) for name, operand in wanted.items()]
    possible = any(all(check.accepts(value) for check in checks) for value in tried)
    try:
        compile_where({"data.object.total": wanted})
    except ConditionErrors:
        assert not possible
    else:
        assert possible
