"""Whatever comes: no signature but the right one is accepted, and nothing raises."""

import base64
import binascii
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from providers import (
    MAILGUN_KEY,
    NOW,
    SECRET,
    entry,
    mailgun_event,
    mailgun_request,
    mailgun_signature,
    standard_request,
    stripe_event,
    stripe_header,
    stripe_request,
)

from relayd.core.event import Event, EventDefaults
from relayd.core.event_input import event_from_line
from relayd.core.inbound.entry import HmacScheme, Inbound, Place, Provider
from relayd.core.inbound.receive import receive
from relayd.core.inbound.request import RawHeaders
from relayd.core.inbound.verdict import Refused, Unmappable, Verified

STRIPE = entry(Provider.STRIPE)
MAILGUN = entry(Provider.MAILGUN, MAILGUN_KEY)
STANDARD = entry(Provider.STANDARD, name="clerk")
HMAC = entry(
    Provider.HMAC,
    name="shop",
    scheme=HmacScheme(
        header="x-signature",
        prefix="sha256=",
        signed="{timestamp}.{body}",
        timestamp="x-timestamp",
        id=Place(path="id"),
        type=(Place(path="type"),),
        time=Place(path="at"),
    ),
)
ENTRIES = [STRIPE, MAILGUN, STANDARD, HMAC, replace(HMAC, scheme=HmacScheme("x-signature"))]


def hmac_request(body: bytes, at: int = NOW) -> tuple[RawHeaders, bytes]:
    made = hmac.new(SECRET.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return [
        (b"x-timestamp", b"%d" % at),
        (b"x-signature", b"sha256=" + made.encode()),
    ], body


RIGHT: dict[str, tuple[Inbound, RawHeaders, bytes, str]] = {
    "stripe": (STRIPE, *stripe_request(stripe_event()), "stripe-signature"),
    "standard": (
        STANDARD,
        *standard_request({"type": "a.b", "data": {}}),
        "webhook-signature",
    ),
    "hmac": (HMAC, *hmac_request(b'{"id":"e1","type":"a"}'), "x-signature"),
}


def with_signature(headers: RawHeaders, name: str, value: bytes) -> RawHeaders:
    return [(each, value if each == name.encode() else given) for each, given in headers]


def damaged(draw: Any, right: bytes) -> bytes:
    """Return a value near the right one: cut, doubled, in other case, with a character more or other."""
    at = draw(st.integers(0, len(right) - 1))
    odd = draw(
        st.sampled_from([b" ", b"\t", b"\0", b"\xc3\xa9", b"\xe2\x80\x8b", b"=", b",", b"0"])
    )
    found: bytes = draw(
        st.sampled_from(
            [
                right[:at],
                right[at:],
                right[:at] + odd + right[at:],
                right[:at] + odd + right[at + 1 :],
                right[:at] + bytes([right[at] ^ 1]) + right[at + 1 :],
                right.swapcase(),
                right.upper(),
                right[::-1],
                right + right,
                right + odd,
                odd + right,
                right.replace(b"v1", b"v0"),
                right.replace(b"v1", b"v2"),
                right.replace(b"sha256=", b"sha1="),
                b"",
            ]
        )
    )
    return found


def is_right(provider: str, value: bytes, right: bytes) -> bool:
    """Tell whether a value has the right signature in it, by what the provider's page says."""
    if provider == "stripe":
        items = value.split(b",")
        times = [each for each in items if each.startswith(b"t=")]
        return times == [right.split(b",")[0]] and right.split(b",")[1] in items
    if provider == "standard":
        return right in value.split(b" ")
    return value == right


@pytest.mark.parametrize("provider", RIGHT)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_no_signature_but_the_right_one_is_accepted(provider: str, data: st.DataObject) -> None:
    to, headers, body, name = RIGHT[provider]
    right = dict(headers)[name.encode()]
    value = damaged(data.draw, right)
    came = receive(to, with_signature(headers, name, value), body, now=NOW)
    assert isinstance(came, Verified) is is_right(provider, value, right)


@pytest.mark.parametrize("provider", RIGHT)
@given(value=st.binary(max_size=200))
@example(value=b"t=1,v1=")
@settings(max_examples=100, deadline=None)
def test_nor_is_any_other_text(provider: str, value: bytes) -> None:
    to, headers, body, name = RIGHT[provider]
    came = receive(to, with_signature(headers, name, value), body, now=NOW)
    assert isinstance(came, Refused)
    assert came.status == 401


@pytest.mark.parametrize("provider", RIGHT)
@given(at=st.integers(0, 10_000), flip=st.integers(1, 255))
@settings(max_examples=100, deadline=None)
def test_nor_is_the_right_one_for_another_body(provider: str, at: int, flip: int) -> None:
    to, headers, body, _ = RIGHT[provider]
    changed = bytearray(body)
    changed[at % len(body)] ^= flip
    for other in (bytes(changed), body + b" ", b" " + body, b"\xef\xbb\xbf" + body, body[:-1]):
        assert isinstance(receive(to, headers, other, now=NOW), Refused)


@pytest.mark.parametrize("provider", RIGHT)
@given(data=st.data())
@settings(max_examples=100, deadline=None)
def test_the_order_and_the_case_of_headers_say_nothing(provider: str, data: st.DataObject) -> None:
    to, headers, body, name = RIGHT[provider]
    shuffled = data.draw(st.permutations(headers))
    cased = [
        (data.draw(st.sampled_from([key, key.upper(), key.title()])), v) for key, v in shuffled
    ]
    assert isinstance(receive(to, cased, body, now=NOW), Verified)
    wrong = data.draw(st.sampled_from([b"", b"t=1,v1=0", dict(headers)[name.encode()]]))
    position = data.draw(st.integers(0, len(cased)))
    twice = [*cased[:position], (name.encode(), wrong), *cased[position:]]
    assert isinstance(receive(to, twice, body, now=NOW), Refused)


@given(
    change=st.fixed_dictionaries(
        {},
        optional={
            "timestamp": st.one_of(st.integers(), st.text(), st.floats(), st.none()),
            "token": st.one_of(st.text(), st.none(), st.lists(st.text())),
            "signature": st.one_of(st.text(), st.none(), st.text("0123456789abcdef", min_size=64)),
        },
    )
)
@settings(max_examples=100, deadline=None)
def test_no_signature_of_mailguns_but_the_right_one(change: dict[str, Any]) -> None:
    right = mailgun_signature()
    came = receive(MAILGUN, *mailgun_request(mailgun_event(), right | change), now=NOW)
    same = {key: str(value) for key, value in (right | change).items()} == right
    assert isinstance(came, Verified) is same


# -- nothing raises --------------------------------------------------------------------------------

HEADERS = st.lists(
    st.tuples(
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from(
                [
                    b"stripe-signature",
                    b"content-type",
                    b"webhook-id",
                    b"webhook-timestamp",
                    b"webhook-signature",
                    b"x-signature",
                    b"x-timestamp",
                ]
            ),
        ),
        st.one_of(
            st.binary(max_size=60),
            st.sampled_from(
                [
                    b"multipart/form-data; boundary=b",
                    b"application/x-www-form-urlencoded",
                    b"%d" % NOW,
                ]
            ),
        ),
    ),
    max_size=8,
)
BODIES = st.one_of(
    st.binary(max_size=300),
    st.text("ab=&%;+é", max_size=100).map(str.encode),
    st.lists(
        st.sampled_from(
            [
                b"--b",
                b"\r\n",
                b"--",
                b"a: b",
                b"\n",
                b"x",
                b'Content-Disposition: form-data; name="a"',
            ]
        ),
        max_size=30,
    ).map(b"".join),
)


@pytest.mark.parametrize("to", ENTRIES, ids=lambda each: str(each.name))
@given(headers=HEADERS, body=BODIES, now=st.floats(0, 1e11))
@settings(max_examples=100, deadline=None)
def test_receive_never_raises(to: Inbound, headers: RawHeaders, body: bytes, now: float) -> None:
    assert isinstance(receive(to, headers, body, now=now), Refused)


JSON: st.SearchStrategy[Any] = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=10),
        st.just("\ud83e"),
        st.just("evt_1"),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(
            st.sampled_from(
                ["id", "type", "created", "data", "object", "livemode", "reason", "request", "event",
                 "timestamp", "at", "severity", "event-data", "related_object", "changes", "before"]
            ),
            inner,
            max_size=6,
        ),
    ),
    max_leaves=20,
)  # fmt: skip


def signed_by(to: Inbound, body: bytes) -> RawHeaders:
    if to is STRIPE:
        return [(b"stripe-signature", stripe_header(body))]
    if to is STANDARD:
        key = base64.b64decode(SECRET.removeprefix("whsec_"))
        made = hmac.new(key, b"e.%d." % NOW + body, hashlib.sha256).digest()
        return [
            (b"webhook-id", b"e"),
            (b"webhook-timestamp", b"%d" % NOW),
            (b"webhook-signature", b"v1," + binascii.b2a_base64(made, newline=False)),
        ]
    return hmac_request(body)[0]


def held(to: Inbound, headers: RawHeaders, body: bytes) -> None:
    came = receive(to, headers, body, now=NOW)
    assert not isinstance(came, Refused) or came.code == "test_mode"
    if isinstance(came, Verified):
        assert b"\n" not in came.line
        event = event_from_line(came.line, EventDefaults("m", "v"), new_id="-", now=1)
        assert isinstance(event, Event)
        assert (event.id, event.type) == (came.event_id, came.type)
        assert len(came.of.key) <= 200
    elif isinstance(came, Unmappable):
        assert came.rejection.code
        assert came.of.id


@pytest.mark.parametrize("to", [STRIPE, STANDARD, HMAC], ids=lambda each: str(each.name))
@given(document=JSON)
@settings(max_examples=100, deadline=None)
def test_what_is_signed_is_an_event_or_is_kept(to: Inbound, document: Any) -> None:
    body = json.dumps(document).encode()
    held(to, signed_by(to, body), body)


@pytest.mark.parametrize("to", [STRIPE, STANDARD, HMAC], ids=lambda each: str(each.name))
@given(body=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_so_are_signed_bytes_of_any_kind(to: Inbound, body: bytes) -> None:
    held(to, signed_by(to, body), body)


@given(event=JSON)
@settings(max_examples=100, deadline=None)
def test_and_what_mailgun_says(event: Any) -> None:
    held(MAILGUN, *mailgun_request(event))
