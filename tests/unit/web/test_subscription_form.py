"""The form that describes a subscription, as keys of the configuration and back."""

import pytest
from starlette.datastructures import QueryParams

from relayd.core.catalogue import EVENT_TYPES, RELAYD_TYPES
from relayd.web.dashboard.subscription_form import (
    errors_of,
    given_of,
    groups_of,
    keys_of,
    read_form,
)

KEYS = {
    "url": "https://shop.example/",
    "events": ["order.created", "payment.*", "basket.paid", "basket.*x"],
    "where": {"data.object.total": {"gte": 5}, "data.object.name": "größe: 1"},
    "active": False,
    "timeout": "5s",
    "retry": ["1m", "1h"],
    "rate_limit": "50/min",
}


def test_what_a_file_has_comes_back_as_it_was() -> None:
    given = given_of("shop", KEYS, ["basket.paid"])
    assert (given.url, given.others) == ("", "basket.*x"), "the URL is not shown"
    fields = [
        *((name, getattr(given, name)) for name in ("name", "others", "where", "timeout")),
        *(("events", each) for each in given.events),
        ("retry", given.retry),
        ("rate_limit", given.rate_limit),
        ("secret", given.signing),
    ]
    keys, wrong = keys_of(read_form(QueryParams(fields)))
    assert not wrong
    assert keys == {**KEYS, "url": None}


def test_what_a_person_wrote_wrongly_is_left_empty() -> None:
    keys = {"events": 5, "where": ["a"], "retry": "2m", "timeout": 10, "active": None}
    given = given_of("shop", keys, [])
    assert (given.events, given.others, given.where, given.retry) == ((), "", "", "")
    assert given_of("shop", {"events": {"a": 1}, "retry": None}, []).events == ()


@pytest.mark.parametrize(
    ("retry", "waits"), [("none", []), ("[]", None), ("", None), ("1m", ["1m"])]
)
def test_retries_may_be_none(retry: str, waits: list[str] | None) -> None:
    form = QueryParams([("events", "*"), ("retry", retry), ("active", "on")])
    keys, wrong = keys_of(read_form(form))
    assert not wrong
    assert keys["retry"] == waits
    assert keys["events"] == "*"
    assert keys["active"] is None
    assert given_of("shop", {"retry": []}, []).retry == "none"


def test_each_known_type_can_be_chosen_once() -> None:
    types = [name for group in groups_of(["basket.paid"]) for name, _ in group.types]
    assert sorted(types) == sorted({*EVENT_TYPES, *RELAYD_TYPES, "basket.paid"})
    assert groups_of([])[0].pattern == "order.*"


def test_a_problem_stands_at_its_field_or_at_the_top() -> None:
    def detail(key: str | None, hint: str = "") -> dict[str, object]:
        return {"key": key, "message": "is bad", "hint": hint, "file": "a.yaml", "line": 3}

    details = [
        detail("subscription"),
        detail("retry[1]", "1m"),
        detail("where.data.x"),
        detail(None),
    ]
    assert errors_of([*details, detail("headers.A")]) == {
        "name": ["is bad"],
        "retry": ["is bad (1m)"],
        "where": ["data.x: is bad"],
        "": ["a.yaml:3: is bad", "headers.A: is bad"],
    }


def test_a_secret_of_ones_own_is_in_no_repr() -> None:
    given = read_form(QueryParams([("secret", "own"), ("own_secret", "do-not-print")]))
    assert "do-not-print" not in repr(given)
    assert keys_of(given)[0]["secret"] == "do-not-print"
    assert "secret" in keys_of(read_form(QueryParams([("secret", "own")])))[1]
