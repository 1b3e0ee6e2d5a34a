"""What the web process matches by is what intake matches by: the selection goes through `QUEUE.web` unchanged."""

import json
from collections.abc import Mapping

import pytest

from relayd.core.matching import Selection, compile_where
from relayd.core.web_access import Listen, WebAccess
from relayd.views.configuration import conditions_as_written
from relayd.views.web_document import OtherFormatError, WebDocument, selection_of


def document(**wheres: Mapping[str, object]) -> WebDocument:
    subscriptions = [
        {"name": name, "events": ["order.*", "*"], "where": where} for name, where in wheres.items()
    ]
    return WebDocument(WebAccess(Listen(path="/x")), {"subscriptions": subscriptions})


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
    written = json.loads(json.dumps(conditions_as_written(conditions)))
    expected = Selection(("order.*", "*"), conditions)
    assert selection_of(document(other={}, books=written), "books") == expected


def test_what_cannot_be_read_is_reported_and_never_everything() -> None:
    for found in (document(books={"nonsense": 1}), document(other={})):
        with pytest.raises(OtherFormatError):
            selection_of(found, "books")
