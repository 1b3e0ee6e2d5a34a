"""What a condition's path finds, when its test holds, and how a failure is told."""

import pickle
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.conditions import LONGEST_SHOWN, Condition, distinct, key_of, listing, shown
from relayd.core.json_text import HugeNumber, JsonValue
from relayd.core.where import ConditionErrors, compile_where

ORDER: Mapping[str, Any] = {
    "id": "evt_1",
    "type": "order.created",
    "created": 1640995200,
    "data": {
        "object": {
            "id": "order_456",
            "status": "pending",
            "total": 4250,
            "weight": 2.5,
            "paid": False,
            "note": None,
            "tags": ["organic", "local"],
            "items": [
                {"grower_id": "grower_456", "price": 1200},
                {"grower_id": "grower_789", "price": 300},
            ],
            "prices": {"usd": 4250, "eur": 3900},
            "0": "zero",
            "empty": [],
        }
    },
    "market_id": "market_123",
    "api_version": "2024-01-01",
}


class Literal(int):
    """A number that remembers how it was written."""


class LiteralFloat(float):
    """The same for a fraction."""


def condition(path: str, wanted: object) -> Condition:
    (compiled,) = compile_where({path: wanted})
    return compiled


def holds(path: str, wanted: object, envelope: Mapping[str, Any] = ORDER) -> bool:
    failure = condition(path, wanted).failure(envelope)
    values = condition(path, wanted).values(envelope)
    # The two public ways to ask never disagree.
    assert condition(path, wanted).test.holds(values) == (failure is None)
    return failure is None


def told(path: str, wanted: object, envelope: Mapping[str, Any] = ORDER) -> str:
    failure = condition(path, wanted).failure(envelope)
    assert failure is not None
    return failure


def event_with(value: object) -> dict[str, Any]:
    return {**ORDER, "data": {"object": {"value": value}}}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("type", ["order.created"]),
        ("data.object.total", [4250]),
        ("data.object.note", [None]),
        ("data.object.items.0.price", [1200]),
        ("data.object.items.1.price", [300]),
        ("data.object.items.2.price", []),
        ("data.object.items.-1.price", []),
        ("data.object.items.price", []),
        ("data.object.items.*.price", [1200, 300]),
        ("data.object.*.*.price", [1200, 300]),
        ("data.object.tags.*", ["organic", "local"]),
        ("data.object.prices.*", [4250, 3900]),
        ("data.object.empty.*", []),
        ("data.object.0", ["zero"]),
        ("data.object.total.*", []),
        ("data.object.status.0", []),
        ("data.object.absent.deeper", []),
        ("data.object.items.²", []),
        ("data.object.items." + "9" * 5000, []),
    ],
)
def test_a_path_finds(path: str, found: list[object]) -> None:
    assert condition(path, "x").values(ORDER) == found


def test_a_key_of_the_event_may_be_absent() -> None:
    assert condition("market_id", "m").values({"type": "order.created", "data": {}}) == []


@pytest.mark.parametrize(
    ("wanted", "value", "equal"),
    [
        (1, 1.0, True),
        (1.0, 1, True),
        (0, -0.0, True),
        (1, Literal(1), True),
        (2.5, LiteralFloat(2.5), True),
        (1, True, False),
        (0, False, False),
        (True, True, True),
        (True, 1, False),
        (False, 0, False),
        (True, "true", False),
        (1, "1", False),
        ("1", 1, False),
        (None, None, True),
        (None, False, False),
        (None, "", False),
        (None, 0, False),
        ("a", "a", True),
        ("a", "A", False),
        ("a", ["a"], False),
        (None, [], False),
        (2**53 + 1, float(2**53), False),
        ([1, 2], 2, True),
        ([1, 2], 3, False),
        ([True], 1, False),
        ([1, None], None, True),
    ],
)
def test_equality_is_that_of_json(wanted: object, value: object, equal: bool) -> None:
    assert holds("data.object.value", wanted, event_with(value)) is equal
    # A list of one means the same as the value, and `not` the opposite.
    as_list = wanted if isinstance(wanted, list) else [wanted]
    assert holds("data.object.value", as_list, event_with(value)) is equal
    assert holds("data.object.value", {"not": wanted}, event_with(value)) is not equal


@pytest.mark.parametrize(
    ("operators", "value", "expected"),
    [
        ({"gt": 5}, 5, False),
        ({"gt": 5}, 5.5, True),
        ({"gte": 5}, 5, True),
        ({"gte": 5}, 4.999, False),
        ({"lt": 5}, 5, False),
        ({"lt": 5}, -1, True),
        ({"lte": 5}, 5.0, True),
        ({"lte": 5}, 6, False),
        ({"gte": 5}, 10**400, True),
        ({"gte": 5.5}, Literal(10**400), True),
        ({"gte": 5}, True, False),
        ({"gte": 0}, False, False),
        ({"gte": 0}, None, False),
        ({"gte": 5}, "6", False),
        ({"gte": "2024-01-15"}, "2024-01-15", True),
        ({"gt": "2024-01-15"}, "2024-01-14", False),
        ({"lt": "b"}, "a", True),
        ({"lt": "b"}, 1, False),
        ({"gte": 0}, [1], False),
        ({"gte": 5, "lt": 10}, 7, True),
        ({"gte": 5, "lt": 10}, 10, False),
        ({"glob": "grower_*"}, "grower_456", True),
        ({"glob": "grower_*"}, "Grower_456", False),
        ({"glob": "row"}, "grower", False),
        ({"glob": "a?c"}, "abc", True),
        ({"glob": "[!a]*"}, "abc", False),
        ({"glob": "*"}, "two\nlines", True),
        ({"glob": "*"}, 5, False),
        ({"glob": "*"}, None, False),
        ({"exists": True}, None, True),
        ({"exists": False}, None, False),
        ({"gte": 5, "not": 7}, 7, False),
        ({"gte": 5, "not": 7}, 8, True),
        ({"not": {"gte": 5, "lt": 10}}, 7, False),
        ({"not": {"gte": 5, "lt": 10}}, 11, True),
        ({"not": {"gte": 5}}, "text", True),
        ({"not": {"not": 7}}, 7, True),
        ({"not": [1, 2]}, 2, False),
    ],
)
def test_operators_on_one_value(
    operators: dict[str, object], value: object, expected: bool
) -> None:
    assert holds("data.object.value", operators, event_with(value)) is expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (1, False),
        (None, False),
        ([None, 1], False),
        ({"gte": 0}, False),
        ({"glob": "*"}, False),
        ({"exists": True}, False),
        ({"exists": False}, True),
        ({"not": 1}, True),
        ({"not": None}, True),
        ({"not": {"gte": 0}}, True),
        ({"not": {"exists": True}}, True),
        ({"not": {"exists": False}}, False),
        ({"exists": True, "not": 1}, False),
    ],
)
def test_where_nothing_is_found(wanted: object, expected: bool) -> None:
    assert holds("data.object.absent", wanted) is expected
    assert holds("data.object.empty.*", wanted) is expected


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (300, True),
        (301, False),
        ([301, 1200], True),
        ({"gt": 1000}, True),
        # One and the same element must satisfy all the operators.
        ({"gt": 300, "lt": 1200}, False),
        ({"gt": 300, "lte": 1200}, True),
        # None may satisfy what is negated.
        ({"not": 300}, False),
        ({"not": 301}, True),
        ({"not": {"gt": 1000}}, False),
        ({"not": {"gt": 1200}}, True),
        ({"gt": 1000, "not": 300}, False),
        ({"gt": 1000, "not": 301}, True),
        ({"exists": True}, True),
        ({"exists": False}, False),
    ],
)
def test_any_element(wanted: object, expected: bool) -> None:
    assert holds("data.object.items.*.price", wanted) is expected


@given(st.text(alphabet="ab*?[]!-^\\.\n", max_size=8), st.text(alphabet="ab-]\\\n", max_size=6))
def test_globs_are_fnmatchs(pattern: str, text: str) -> None:
    assert holds("data.object.value", {"glob": pattern}, event_with(text)) == fnmatchcase(
        text, pattern
    )


scalars = (
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from([0.0, -0.0, 1.0, 0.5, "", "1"])
)


@given(scalars, scalars)
def test_keys_are_equal_exactly_when_json_is(one: object, other: object) -> None:
    def kind(value: object) -> str:
        return "number" if type(value) is int or isinstance(value, float) else type(value).__name__

    assert (key_of(one) == key_of(other)) == (kind(one) == kind(other) and one == other)


@given(scalars)
def test_no_scalar_has_the_key_of_a_list_or_an_object(value: object) -> None:
    assert key_of(value) not in (key_of([value]), key_of({"a": value}))


def test_conditions_are_equal_by_what_they_select() -> None:
    same = [condition("data.x", [1, "a"]), condition("data.x", ["a", 1.0, 1])]
    assert same[0] == same[1]
    assert hash(same[0]) == hash(same[1])
    different: list[object] = [
        1,
        True,
        "1",
        [1, 2],
        None,
        {"gt": 1},
        {"gte": 1},
        {"glob": "1"},
        {"glob": "2"},
        {"not": 1},
        {"not": True},
        {"exists": True},
        {"exists": False},
    ]
    assert len({condition("data.x", wanted) for wanted in different}) == len(different)
    assert condition("data.x", 1) != condition("data.y", 1)


@pytest.mark.parametrize(
    ("path", "wanted", "reason"),
    [
        (
            "data.object.total",
            {"gte": 5000},
            "data.object.total is 4250, and must be at least 5000",
        ),
        (
            "data.object.total",
            {"gt": 4250.5},
            "data.object.total is 4250, and must be more than 4250.5",
        ),
        ("data.object.total", {"lt": 10}, "data.object.total is 4250, and must be less than 10"),
        ("data.object.total", {"lte": 10}, "data.object.total is 4250, and must be at most 10"),
        # Only the operator that failed is told.
        (
            "data.object.total",
            {"gte": 100, "lt": 1000},
            "data.object.total is 4250, and must be less than 1000",
        ),
        ("data.object.total", "4250", 'data.object.total is 4250, and must be "4250"'),
        ("data.object.paid", True, "data.object.paid is false, and must be true"),
        ("data.object.note", ["a", 1], 'data.object.note is null, and must be one of "a" or 1'),
        ("data.object.grower_id", "g", "data.object.grower_id is missing"),
        ("data.object.grower_id", {"exists": True}, "data.object.grower_id is missing"),
        (
            "data.object.status",
            {"exists": False},
            'data.object.status is "pending", and must be missing',
        ),
        (
            "data.object.status",
            {"not": "pending"},
            'data.object.status is "pending", and must not be "pending"',
        ),
        (
            "data.object.status",
            {"glob": "paid*", "not": {"glob": "pend*"}},
            'data.object.status is "pending", and must match "paid*" and must not match "pend*"',
        ),
        (
            "data.object.status",
            {"not": {"not": "paid"}},
            'data.object.status is "pending", and must not not be "paid"',
        ),
        (
            "data.object.tags",
            "organic",
            (
                "data.object.tags is a list of 2 (what is in it is data.object.tags.*), "
                'and must be "organic"'
            ),
        ),
        (
            "data.object.prices",
            {"gt": 1},
            (
                "data.object.prices is an object (what is in it is data.object.prices.*), "
                "and must be more than 1"
            ),
        ),
        (
            "data.object.items.*.grower_id",
            "grower_1",
            (
                'data.object.items.*.grower_id is "grower_456" and "grower_789", '
                'and one must be "grower_1"'
            ),
        ),
        (
            "data.object.items.*.price",
            {"gt": 300, "lt": 1200},
            (
                "data.object.items.*.price is 1200 and 300, "
                "and one must be more than 300 and be less than 1200"
            ),
        ),
        (
            "data.object.items.*.price",
            {"not": {"gt": 300}},
            "data.object.items.*.price is 1200 and 300, and none may be more than 300",
        ),
        ("data.object.empty.*", 1, "data.object.empty.* is missing"),
    ],
)
def test_a_failure_in_words(path: str, wanted: object, reason: str) -> None:
    assert told(path, wanted) == reason


def test_many_values_are_counted() -> None:
    reason = told("data.object.value.*", "x", event_with([*range(20), 3]))
    assert reason == 'data.object.value.* is 0, 1, 2 and 17 more, and one must be "x"'


@given(
    st.recursive(
        st.text(alphabet="SECRET", min_size=LONGEST_SHOWN + 1),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("SECRET"), inner),
    ),
    st.sampled_from(["data.object.value", "data.object.value.*"]),
    st.sampled_from([1, {"gte": 1}, {"not": {"not": 1}}, {"exists": False}, {"glob": "x"}]),
)
def test_no_long_payload_is_quoted(value: object, path: str, wanted: object) -> None:
    assert "SECRET" not in (condition(path, wanted).failure(event_with(value)) or "")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        (True, "true"),
        (False, "false"),
        (0, "0"),
        (-5, "-5"),
        (4250.0, "4250"),
        (2.5, "2.5"),
        (Literal(7), "7"),
        (LiteralFloat(0.1), "0.1"),
        (10**20, "100000000000000000000"),
        (1e308, "a number too large to show"),
        (float("inf"), "a number too large to show"),
        (float("nan"), "a number too large to show"),
        ("x" * 40, '"' + "x" * 40 + '"'),
        ("x" * 41, "text of 41 characters"),
        ('say "é"', '"say \\"é\\""'),
        ("\x1b[31m\u202e", '"\\u001b[31m\\u202e"'),
        ([], "a list of 0"),
        ({"a": 1}, "an object"),
    ],
)
def test_shown(value: object, text: str) -> None:
    assert shown(value) == text


def test_a_number_that_python_refuses_to_print_is_named() -> None:
    assert shown(10**5000) == shown(-(10**5000)) == "a number too large to show"


scalars = (
    st.sampled_from([None, True, False, 0, 1, 1.0, -1, 2**60, 2**61 - 1, "", "a", "1"])
    | st.sampled_from([HugeNumber("1e400"), HugeNumber("-1e400"), 1.5])
    | st.integers()
    | st.text(max_size=2)
)


@given(
    st.lists(scalars | st.just({}) | st.just([1]), max_size=12),
    st.sampled_from(
        [
            *(1, True, None, "a", {"gte": 1}, {"gt": 0, "lt": 2}, {"glob": "?"}, {"not": 1}),
            *({"exists": True}, {"not": {"lte": "a"}}, {"gte": 0, "not": [None, False]}),
        ]
    ),
)
def test_a_test_holds_for_distinct_values_as_for_all(values: list[object], wanted: object) -> None:
    many = values * 200
    test = condition("data.x", wanted).test
    assert test.holds(distinct(many)) == test.holds(values)


def test_of_many_equal_values_one_is_looked_at() -> None:
    values: list[JsonValue] = [1, "a", 2.5, None, True]
    assert distinct([*values, {}] * 10_000) == [*values, {}]


def test_integers_of_one_hash_are_not_compared_with_each_other() -> None:
    # Each comparison would cost: 20,000 of them in a dict take 100 s.
    alike: list[object] = [number * (2**61 - 1) for number in range(2, 20_000)]
    assert sorted(map(str, distinct(alike))) == sorted(map(str, alike))


@given(st.text(max_size=60))
def test_shown_text_is_one_printable_line(text: str) -> None:
    assert shown(text).replace("\x7f", "").isprintable()


def test_listings() -> None:
    assert listing(["a"], "and") == "a"
    assert listing(["a", "b"], "or") == "a or b"
    assert listing(["a", "b", "a", "c"], "and") == "a, b and c"
    assert listing("abcd", "and", most=3) == "a, b, c and d"
    assert listing("abcde", "and", most=3) == "a, b, c and 2 more"


def test_conditions_survive_pickling() -> None:
    conditions = compile_where({"data.x": [1, True], "data.y": {"glob": "a*", "not": None}})
    assert pickle.loads(pickle.dumps(conditions)) == conditions


def test_errors_are_values_too() -> None:
    with pytest.raises(ConditionErrors, match=r"data\.x > gtt: gtt is not an operator"):
        compile_where({"data.x": {"gtt": 1}})
