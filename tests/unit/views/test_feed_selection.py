"""What the web process matches by is what intake matches by: the selection goes through `QUEUE.web` unchanged."""

import json
from collections.abc import Mapping

import pytest

from relayd.core.matching import Selection, compile_where
from relayd.core.web_access import Listen, Role
from relayd.views.configuration import conditions_as_written
from relayd.views.web_document import FORMAT, OtherFormatError, read_web_document


def written(where: object = None, **other: object) -> bytes:
    subscription: dict[str, object] = {
        "name": "books",
        "events": ["order.*", "*"],
        "where": where or {},
        "active": True,
        "rate_limit": "100/min",
        "max_in_flight": 8,
    }
    access: dict[str, object] = {
        "listen": "unix:/x",
        "public": None,
        "base_url": None,
        "trusted_proxies": [],
        "open": False,
        "tokens": {"0a": {"role": Role.FEED, "name": "books"}},
        "producers": {},
    }
    document = {
        "format": FORMAT,
        "version": "0.1.0",
        "http": access | other,
        "subscriptions": [subscription | other],
    }
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"market_id": "market_9"},
        {"data.object.total": {"gte": 5, "lt": 2**53}, "data.object.items.*.id": [1, 1.5, None]},
        {"data.a": {"glob": "grower_*", "exists": True}, "data.b": {"not": {"gt": "m"}}},
        {"data.a": {"not": ["x", True]}, "data.b": False, "data.c": {"exists": False}},
    ],
)
def test_a_selection_is_the_same_behind_the_document(where: Mapping[str, object]) -> None:
    conditions = compile_where(where)
    found = read_web_document(written(conditions_as_written(conditions)))
    assert found.subscriptions["books"].selection == Selection(("order.*", "*"), conditions)
    assert found.access.listen == Listen(path="/x")


@pytest.mark.parametrize(
    "raw",
    [
        written({"nonsense": 1}),
        written({"data.a": {"gte": "x", "lt": 1}}),
        written([1]),
        written(name="other"),
        written(rate_limit="often"),
        written(max_in_flight="many"),
        written(events=5),
        written(tokens={"0a": {"role": Role.PRODUCER, "name": "nobody"}}),
        written(tokens=[]),
        written(listen="nowhere"),
        b"",
        b"[]",
        b"[" * 200_000,
        b"\xff",
        b'{"format": 1}',
        b'{"format": 2}',
        written()[:-40],
    ],
)
def test_what_is_damaged_is_found_when_it_is_read_and_never_matches_everything(raw: bytes) -> None:
    with pytest.raises(OtherFormatError):
        read_web_document(raw)


def test_another_version_says_who_wrote_it() -> None:
    with pytest.raises(OtherFormatError, match=r"relayd 9\.1 wrote it; restart"):
        read_web_document(b'{"format": 2, "version": "9.1"}')


def test_closed_nobody_has_a_token() -> None:
    found = read_web_document(written(open=True))
    assert found.access.tokens
    assert found.access.open
    access = found.closed().access
    assert not access.tokens
    assert not access.open
