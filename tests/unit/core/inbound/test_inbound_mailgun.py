"""Mailgun's webhooks: JSON and forms, their signature inside the body, and what their events become."""

import json
from typing import Any
from urllib.parse import urlencode

import pytest
from providers import (
    MAILGUN_KEY,
    NOW,
    TOKEN,
    entry,
    mailgun_event,
    mailgun_request,
    mailgun_signature,
    mailgun_test_webhook,
    multipart,
)

from relayd.core.catalogue import EMAIL_TYPES, sample
from relayd.core.inbound.entry import Provider, default_tolerance_s
from relayd.core.inbound.mailgun import MOST_BYTES, MOST_VALUES, TYPES, sign
from relayd.core.inbound.receive import Draft, map_again, receive
from relayd.core.inbound.request import RawHeaders
from relayd.core.inbound.verdict import RefusalCode, Refused, Unmappable, Verified
from relayd.core.secret import Secret

MAILGUN = entry(
    Provider.MAILGUN, MAILGUN_KEY, name="mg", tolerance_s=default_tolerance_s(Provider.MAILGUN)
)
URL_ENCODED = b"application/x-www-form-urlencoded"
FIELDS = {
    "recipient": "rosa@example.com",
    "domain": "market.example",
    "Message-Id": "<20261120.1@market.example>",
}


def verified(headers: RawHeaders, body: bytes, *, now: float = NOW) -> dict[str, Any]:
    came = receive(MAILGUN, headers, body, now=now)
    assert isinstance(came, Verified), came
    line: dict[str, Any] = json.loads(came.line)
    return line


def refused(headers: RawHeaders, body: bytes, *, now: float = NOW) -> Refused:
    came = receive(MAILGUN, headers, body, now=now)
    assert isinstance(came, Refused), came
    assert came.status == 401, "406 would end Mailgun's tries for good"
    return came


def form(fields: dict[str, str]) -> tuple[RawHeaders, bytes]:
    return [(b"content-type", URL_ENCODED)], urlencode(fields).encode()


@pytest.mark.parametrize(
    ("event", "kind"),
    [
        (mailgun_event("accepted"), "email.accepted"),
        (mailgun_event("delivered"), "email.delivered"),
        (mailgun_event("failed", severity="permanent"), "email.bounced"),
        (mailgun_event("failed", severity="temporary"), "email.delayed"),
        (mailgun_event("opened"), "email.opened"),
        (mailgun_event("clicked"), "email.clicked"),
        (mailgun_event("complained"), "email.complained"),
        (mailgun_event("unsubscribed"), "email.unsubscribed"),
        (mailgun_event("stored"), "email.stored"),
        (mailgun_event("failed"), "mailgun.failed"),
        (mailgun_event("rejected"), "mailgun.rejected"),
        (mailgun_event("list_member_uploaded"), "mailgun.list_member_uploaded"),
        (mailgun_event("failed", severity="unknown"), "mailgun.failed.unknown"),
    ],
)
def test_each_event_of_a_webhook(event: dict[str, Any], kind: str) -> None:
    assert verified(*mailgun_request(event)) == {
        "id": "CPgfbmQMTCKtHW6uIWtuVe",
        "type": kind,
        "created": NOW - 2,
        "data": {"object": event},
    }


def test_the_catalogue_has_each_type_that_there_is() -> None:
    assert set(TYPES.values()) == set(EMAIL_TYPES)


@pytest.mark.parametrize("event_type", EMAIL_TYPES)
def test_each_sample_is_what_mailgun_would_make_that_type_with(event_type: str) -> None:
    assert verified(*mailgun_request(sample(event_type)["object"]))["type"] == event_type


def test_the_scheme_is_the_documented_one() -> None:
    """The three values are made with the key here, by hand: `printf 1529006854TOKEN | openssl …`."""
    assert sign(TOKEN, Secret("key-0123"), 1_529_006_854) == {
        "timestamp": "1529006854",
        "token": TOKEN,
        "signature": "7a368eb18de17284da22350cac6bb470c986dd3ebc8157c4921ec1bad428ab9c",
    }


@pytest.mark.parametrize(
    ("kind", "ours"),
    [
        ("delivered", "email.delivered"),
        ("failed", "email.bounced"),
        ("opened", "email.opened"),
        ("clicked", "email.clicked"),
        ("unsubscribed", "email.unsubscribed"),
    ],
)
def test_what_its_test_button_sends_is_accepted_old_as_it_says_it_is(kind: str, ours: str) -> None:
    event = mailgun_test_webhook(kind)
    first = verified(*mailgun_request(event, mailgun_signature(token="a" * 50)))
    again = verified(*mailgun_request(event, mailgun_signature(token="b" * 50, at=NOW + 9)))
    assert (first["type"], first["created"]) == (ours, int(event["timestamp"]))
    assert again == first, "the second is a duplicate of the first"


def test_its_test_button_sends_three_of_one_id() -> None:
    three = [
        verified(*mailgun_request(mailgun_test_webhook(kind)))["id"]
        for kind in ("opened", "clicked", "unsubscribed")
    ]
    assert len(set(three)) == 1, "docs/inbound.md says that one of them is seen"


def test_a_padded_id_is_a_digest_and_still_one_event() -> None:
    first = receive(MAILGUN, *mailgun_request(mailgun_event(id="Q1BnZmI=")), now=NOW)
    other = entry(Provider.MAILGUN, MAILGUN_KEY, name="domain")
    again = receive(other, *mailgun_request(mailgun_event(id="Q1BnZmI=")), now=NOW)
    assert isinstance(first, Verified)
    assert isinstance(again, Verified)
    assert first.event_id.startswith("mg-")
    assert again.event_id.startswith("domain-")
    assert first.of.key == again.of.key == "mailgun:Q1BnZmI="


def test_the_token_comes_with_the_event() -> None:
    came = receive(MAILGUN, *mailgun_request(mailgun_event()), now=NOW)
    assert isinstance(came, Verified)
    assert came.of.token == TOKEN
    assert TOKEN not in repr(came)


def test_mailgun_tries_again_for_hours_with_the_same_time() -> None:
    request = mailgun_request(mailgun_event())
    assert verified(*request, now=NOW + 8 * 3600)
    assert refused(*request, now=NOW + 12 * 3600 + 1).code is RefusalCode.STALE
    assert verified(*request, now=NOW - 300)
    assert refused(*request, now=NOW - 301).code is RefusalCode.STALE


def test_a_subaccounts_event_is_signed_by_its_parent_too() -> None:
    parent = mailgun_signature()["signature"]
    signature = mailgun_signature(key="the-subaccounts-own") | {"parent-signature": parent}
    assert verified(*mailgun_request(mailgun_event(), signature))


@pytest.mark.parametrize(
    "change",
    [
        {"signature": "0" * 64},
        {"signature": mailgun_signature()["signature"].upper()},
        {"signature": mailgun_signature()["signature"][:-1]},
        {"signature": mailgun_signature()["signature"] + " "},
        {"signature": None},
        {"signature": [mailgun_signature()["signature"]]},
        {"signature": mailgun_signature()["signature"].encode().hex()},
        {"signature": "é" * 64},
        {"signature": "\ud800" * 64},
        {"token": TOKEN + "0"},
        {"token": ""},
        {"token": None},
        {"token": TOKEN[:-1] + "\n"},
        {"timestamp": NOW + 1},
        {"timestamp": str(NOW)[:-1], "token": str(NOW)[-1] + TOKEN},
        {"timestamp": str(NOW) + TOKEN[:1], "token": TOKEN[1:]},
        {"timestamp": f"{NOW}.0"},
        {"timestamp": float(NOW)},
        {"timestamp": True},
        {"timestamp": -NOW},
        {"timestamp": 10**30},
        {"timestamp": str(NOW).translate({ord(str(n)): 0x660 + n for n in range(10)})},
    ],
)
def test_a_damaged_signature_is_refused(change: dict[str, Any]) -> None:
    signature = mailgun_signature() | change
    came = refused(*mailgun_request(mailgun_event(), signature))
    assert came.code in {
        RefusalCode.WRONG_SIGNATURE,
        RefusalCode.NO_SIGNATURE,
        RefusalCode.STALE,
    }


def test_a_time_as_a_number_is_the_same_time() -> None:
    signature: Any = mailgun_signature() | {"timestamp": NOW}
    assert verified(*mailgun_request(mailgun_event(), signature))


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"signature": 1}',
        b'{"event-data": {}}',
        b"[" * 100_000,
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b"9" * 5000,
        b'{"a": "' + b"x" * MOST_BYTES + b'"}',
        b"[" + b"[]," * MOST_VALUES + b"1]",
    ],
)
def test_what_is_not_mailguns_is_refused_before_it_costs_anything(body: bytes) -> None:
    for kind in (b"application/json", URL_ENCODED, b"multipart/form-data; boundary=x", b""):
        came = refused([(b"content-type", kind)], body)
        assert came.code in {RefusalCode.UNREADABLE, RefusalCode.NO_SIGNATURE}


@pytest.mark.parametrize(
    ("event", "code", "key"),
    [
        (None, "missing_key", f"mailgun:{TOKEN}"),
        ([], "missing_key", f"mailgun:{TOKEN}"),
        ({"id": "e1"}, "missing_key", "mailgun:e1"),
        ({"id": "e1", "event": "é"}, "invalid_type", "mailgun:e1"),
    ],
)
def test_what_is_signed_and_cannot_be_an_event_is_kept(event: Any, code: str, key: str) -> None:
    came = receive(MAILGUN, *mailgun_request(event), now=NOW)
    assert isinstance(came, Unmappable)
    assert (came.rejection.code, came.of.key, came.of.token) == (code, key, TOKEN)


def test_mapped_again_it_has_the_id_that_its_retry_would_have() -> None:
    headers, body = form(FIELDS | mailgun_signature() | {"event": "odd"})
    first = receive(MAILGUN, headers, body, now=NOW)
    assert isinstance(first, Verified)
    again = map_again(MAILGUN, headers, body, key=first.of.key, now=NOW)
    assert isinstance(again, Draft)
    assert not again.lacking
    assert again.parts["id"] == first.event_id == TOKEN
    assert again.line == first.line


def test_mapped_again_a_token_of_which_the_digest_alone_is_kept_is_the_same_id() -> None:
    long = "t" * 200
    headers, body = form(FIELDS | mailgun_signature(token=long) | {"event": "odd"})
    first = receive(MAILGUN, headers, body, now=NOW)
    assert isinstance(first, Verified)
    for given in (body, b"\xff"):
        again = map_again(MAILGUN, headers, given, key=first.of.key, now=NOW)
        assert isinstance(again, Draft)
        assert again.parts["id"] == first.event_id


# -- forms: legacy webhooks, and routes ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({"event": "delivered"}, "email.delivered"),
        ({"event": "bounced", "code": "550"}, "email.bounced"),
        ({"event": "dropped", "reason": "hardfail"}, "email.bounced"),
        ({"event": "failed", "severity": "temporary"}, "email.delayed"),
        ({"event": "opened"}, "email.opened"),
        ({"event": "clicked", "url": "https://market.example/"}, "email.clicked"),
        ({"event": "complained"}, "email.complained"),
        ({"event": "unsubscribed"}, "email.unsubscribed"),
        ({"message-url": "https://storage.mailgun.example/1"}, "email.stored"),
        ({"body-plain": "Hello"}, "mailgun.received"),
    ],
)
@pytest.mark.parametrize("as_multipart", [False, True])
def test_each_event_of_a_form(fields: dict[str, str], kind: str, as_multipart: bool) -> None:
    sent = FIELDS | fields | mailgun_signature()
    if as_multipart:
        body = multipart([(name, text, None) for name, text in sent.items()])
        request: tuple[RawHeaders, bytes] = (
            [(b"content-type", b"multipart/form-data; boundary=----mg7d1")],
            body,
        )
    else:
        request = form(sent)
    assert verified(*request) == {
        "id": TOKEN,
        "type": kind,
        "created": NOW,
        "data": {"object": FIELDS | fields | {"timestamp": str(NOW)}},
    }


def test_attachments_are_named_and_stay_in_the_raw_body() -> None:
    fields = [(name, text, None) for name, text in (mailgun_signature() | FIELDS).items()]
    files = [("attachment-1", "a\r\nb", "list é.txt"), ("attachment-2", "", "empty")]
    request = [(b"content-type", b'multipart/form-data; boundary="----mg7d1"')]
    line = verified(request, multipart([*fields, *files]))
    assert line["data"]["attachments"] == [
        {"name": "attachment-1", "filename": "list é.txt", "content_type": "text/plain", "size": 4},
        {"name": "attachment-2", "filename": "empty", "content_type": "text/plain", "size": 0},
    ]
    assert "attachment-1" not in line["data"]["object"]


def test_a_field_that_comes_twice_is_a_list_and_no_signature() -> None:
    fields = [*(FIELDS | mailgun_signature()).items(), ("tag", "a"), ("tag", "b"), ("tag", "c")]
    request = [(b"content-type", URL_ENCODED)]
    assert verified(request, urlencode(fields).encode())["data"]["object"]["tag"] == ["a", "b", "c"]
    twice = [*fields, ("signature", mailgun_signature()["signature"])]
    assert refused(request, urlencode(twice).encode()).code is RefusalCode.NO_SIGNATURE


def test_the_same_token_is_the_same_event_of_a_form() -> None:
    first = receive(MAILGUN, *form(FIELDS | {"event": "opened"} | mailgun_signature()), now=NOW)
    forged = receive(MAILGUN, *form({"event": "complained"} | mailgun_signature()), now=NOW)
    json_one = receive(MAILGUN, *mailgun_request(mailgun_event(id="other")), now=NOW)
    assert isinstance(first, Verified)
    assert isinstance(forged, Verified)
    assert isinstance(json_one, Verified)
    assert first.of == forged.of
    assert (first.of.token, first.of.key) != (json_one.of.token, json_one.of.key)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("multipart/form-data", b""),
        ("multipart/form-data; boundary=", b""),
        (f"multipart/form-data; boundary={'b' * 300}", b""),
        (f"multipart/form-data; boundary=b; x={'y' * 2000}", b""),
        ("multipart/form-data; boundary=b", b"--b\r\n"),
        ("multipart/form-data; boundary=b", multipart([("a", "b", None)], "b")[:-6]),
        ("multipart/form-data; boundary=b", multipart([("a", "b", None)] * 201, "b")),
        ("multipart/form-data; boundary=b", b"--b\r\n" + b"X-A: b\r\n" * 20 + b"\r\n\r\n--b--"),
        ("multipart/form-data; boundary=b", b"--b\r\nX-A: " + b"b" * 9000 + b"\r\n\r\n--b--"),
        ("multipart/form-data; boundary=b", multipart([("a", "\r\n--bc" * 300, None)], "b")),
        (
            "multipart/form-data; boundary=b",
            b"--b\r\n\r\n\r\n--b" + b" " * 9 + b"\r\n\r\n\r\n--b--",
        ),
        ("multipart/form-data; boundary=b", multipart([("a" * 2000, "b", None)], "b")),
        ("application/x-www-form-urlencoded", b"&".join([b"a=b"] * 1001)),
        ("application/x-www-form-urlencoded", "a=é".encode()),
    ],
)
def test_a_form_is_bounded(kind: str, body: bytes) -> None:
    came = refused([(b"content-type", kind.encode())], body)
    assert came.code in {RefusalCode.UNREADABLE, RefusalCode.NO_SIGNATURE}
