"""The one sentence about an event, and the forms in which services accept it."""

import json
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.catalogue import EVENT_TYPES, RELAYD_TYPES, sample
from relayd.core.form import (
    DISCORD_CHARACTERS,
    JSON_TYPE,
    SLACK_CHARACTERS,
    TEXT_CHARACTERS,
    TEXT_TYPE,
    Format,
    formed,
)
from relayd.core.sentence import sentence_about

HOSTILE = (
    "@everyone",
    "<!channel>",
    "<@U123>",
    "<https://evil.example|your bank>",
    "[your bank](https://evil.example)",
    "**bold** _it_ `code` ~~gone~~ ||spoiler||",
    "\u202egnp.exe",
    "a\0b",
    "one\r\nBcc: all@example.com",
    "x" * 1_000_000,
    "\ud83e",
    "\\" * 5_000,
)


def event(event_type: str, thing: object = None, **other: object) -> dict[str, Any]:
    data = sample(event_type) if thing is None else {"object": thing}
    return {
        "id": "evt_1", "type": event_type, "created": 1, "data": data, "market_id": "market_123",
        "api_version": "v", **other,
    }  # fmt: skip


@pytest.mark.parametrize("event_type", [*EVENT_TYPES, *RELAYD_TYPES])
def test_each_known_event_has_a_sentence_with_all_that_it_needs(event_type: str) -> None:
    said = str(sentence_about(event(event_type)))
    assert said.endswith(".")
    assert "unknown" not in said.replace("unknown key", "")  # of a sample's reason
    assert "NAME" not in said
    assert "SUBSCRIPTION" not in said
    assert len(said.splitlines()) == 1


@pytest.mark.parametrize(
    ("event_type", "thing", "said"),
    [
        (
            "relayd.delivery.exhausted",
            {"subscription": "books", "count": 300, "since": 0, "ids": ["dlv_a_1", "dlv_a_2"]},
            (
                "300 deliveries to books are exhausted since 1970-01-01 00:00 UTC (dlv_a_1, dlv_a_2, …):"
                " no attempt is left. `relayd replay books --state exhausted` sends them again."
            ),
        ),
        (
            "relayd.delivery.exhausted",
            {
                "subscription": "books",
                "event_type": "order.created",
                "attempts": 6,
                "count": 1,
                "reason": "answered 503",
                "since": 0,
                "ids": ["dlv_a_1"],
            },
            (
                "The delivery of order.created to books is exhausted after 6 attempts: no attempt is"
                " left; the last failure: answered 503. `relayd replay dlv_a_1` sends it again."
            ),
        ),
        (
            "relayd.delivery.exhausted",
            {
                "subscription": "books",
                "event_type": "order.created",
                "attempts": 6,
                "reason": "answered 404",
                "ids": ["dlv_a_1"],
                "next": "is `url` right? Then `relayd reload`; then `relayd replay books`",
            },
            (
                "The delivery of order.created to books is exhausted after 6 attempts: no attempt is"
                " left; the last failure: answered 404. Next: is 'url' right? Then 'relayd reload';"
                " then `relayd replay dlv_a_1` sends it again."
            ),
        ),
        (
            "relayd.input.rejected",
            {"source": "spool market", "count": 12, "since": 0, "reason": "the id is bad."},
            (
                "12 inputs from spool market were rejected since 1970-01-01 00:00 UTC: the id is bad."
                " They are kept: `relayd rejected` lists them, and resubmits or drops them."
            ),
        ),
        (
            "relayd.subscription.held",
            {"subscription": "books", "reason": "its receiver answered 410 Gone"},
            (
                "Subscription books is held: its receiver answered 410 Gone. Its deliveries are kept, and"
                " none is attempted; `relayd resume books`, or another url and a reload, ends that."
            ),
        ),
        (
            "relayd.reload.refused",
            {"code": "configuration", "reason": "config.yaml:3:5: unknown key"},
            (
                "The configuration was not reloaded: config.yaml:3:5: unknown key. The one in force"
                " stays; `relayd check` says what is wrong, `relayd reload` tries again."
            ),
        ),
        (
            "relayd.source.unavailable",
            {"source": "spool market", "reason": "the file does not exist", "since": 0},
            (
                "No event can be taken from spool market since 1970-01-01 00:00 UTC: the file does not"
                " exist. Nothing is lost: its events wait there; `relayd status` says what it waits for."
            ),
        ),
        (
            "relayd.source.recovered",
            {"source": "spool market", "since": 0},
            (
                "Events are taken from spool market again; none could be since 1970-01-01 00:00 UTC."
                " Nothing has to be done."
            ),
        ),
        (
            "basket.abandoned",
            {"id": 7},
            "basket.abandoned: 7 (in market_123, event evt_1).",
        ),
    ],
)
def test_what_is_said(event_type: str, thing: object, said: str) -> None:
    assert str(sentence_about(event(event_type, thing))) == said


@pytest.mark.parametrize("event_type", RELAYD_TYPES)
def test_a_command_holds_nothing_that_an_event_brought(event_type: str) -> None:
    things = sample(event_type)["object"]
    assert isinstance(things, dict)
    thing = dict.fromkeys(things, "`; rm -rf ~; `relayd cancel rm`")
    if event_type == "relayd.delivery.exhausted":
        thing["next"] = "`rm a`; then `relayd replay rm`"
    said = str(sentence_about(event(event_type, {**thing, "subscriptions": ["`; rm -rf ~; `"]})))
    assert said.count("`") % 2 == 0
    for command in re.findall(r"`([^`]*)`", said):
        assert "rm" not in command


json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
keys = st.sampled_from(
    ["id", "url", "subscription", "subscriptions", "count", "since", "until", "ids", "reason",
     "failures", "attempts", "source", "event_id", "last_failure", "failing_since", "status"]
)  # fmt: skip


@given(
    event_type=st.sampled_from([*EVENT_TYPES, *RELAYD_TYPES, "a.b"]),
    thing=st.dictionaries(keys, json_values) | json_values,
    form=st.sampled_from(["slack", "discord", "text"]),
)
def test_no_event_breaks_a_form(event_type: str, thing: object, form: Format) -> None:
    made = formed({"type": event_type, "data": {"object": thing}}, form)
    text = made.body.decode()
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", text)
    if form != "text":
        json.loads(text)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_slack_gets_text_alone(hostile: str) -> None:
    made = formed(event("order.created", {"id": hostile[:256]}, market_id=hostile), "slack")
    assert made.content_type == JSON_TYPE
    message = json.loads(made.body)
    assert list(message) == ["text"]
    assert not re.search(r"[<>\x00-\x1f\u202e]|&(?!amp;|lt;|gt;)", message["text"])
    assert len(message["text"]) <= SLACK_CHARACTERS


@pytest.mark.parametrize("hostile", HOSTILE)
def test_discord_gets_no_markdown_and_no_mention(hostile: str) -> None:
    made = formed(event("order.created", {"id": hostile[:256]}, market_id=hostile), "discord")
    assert made.content_type == JSON_TYPE
    message = json.loads(made.body)
    assert message["allowed_mentions"] == {"parse": []}
    assert sorted(message) == ["allowed_mentions", "content"]
    content = message["content"]
    assert len(content) <= DISCORD_CHARACTERS
    bare = re.sub(r"\\[!-/:-@\[-`{-~]", "", content)
    assert not re.search(r"[@<>*_~|\[\]#\\]|://", bare)


@pytest.mark.parametrize("form", ["slack", "discord", "text"])
def test_a_long_sentence_is_cut_between_two_escapes(form: Format) -> None:
    """Whatever the escaped text's length is."""
    limit = {"slack": SLACK_CHARACTERS, "discord": DISCORD_CHARACTERS, "text": TEXT_CHARACTERS}[
        form
    ]
    for filling in ("<", "_", "&", "\\", "x_", "a<"):
        for length in range(1, 40):
            names = [filling * 200] * 4 + [filling * length]
            thing = {
                "subscriptions": names, "subscription": filling * 200, "source": filling * 200,
                "last_failure": filling * 200, "url": "u" * length + filling * 200,
            }  # fmt: skip
            said = formed(event("relayd.endpoint.failing", thing), form).body.decode()
            text = said if form == "text" else str(next(iter(json.loads(said).values())))
            assert len(text) <= limit
            if form == "slack":
                assert not re.search(r"&(?!amp;|lt;|gt;)", text)
            if form == "discord" and text.endswith("…"):
                assert not re.search(r"(?<!\\)(?:\\\\)*\\…\Z", text)


def test_text_is_text() -> None:
    made = formed(event("order.created", {"id": "pätsch"}), "text")
    assert made.content_type == TEXT_TYPE
    assert made.body.decode() == (
        "A customer placed an order: pätsch (order.created in market_123, event evt_1)."
    )
