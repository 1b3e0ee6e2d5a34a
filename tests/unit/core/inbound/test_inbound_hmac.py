"""`provider: hmac`: the schemes of providers that can be written in it, by what their pages say."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs

import pytest
from providers import NOW, entry

from relayd.core.inbound.entry import HmacScheme, Inbound, Place, Provider
from relayd.core.inbound.hmac_scheme import sign
from relayd.core.inbound.receive import receive
from relayd.core.inbound.request import RawHeaders
from relayd.core.inbound.verdict import RefusalCode, Refused, Unmappable, Verified
from relayd.core.secret import Secret

KEY = "key-of-the-suite-0123456789"
URL = "https://relay.example/in/square"


def made(algorithm: str, *signed: bytes, key: str = KEY) -> bytes:
    return hmac.new(key.encode(), b"".join(signed), algorithm).digest()


def scheme_of(to: Inbound) -> HmacScheme:
    assert to.scheme is not None
    return to.scheme


GITHUB = entry(
    Provider.HMAC,
    KEY,
    name="github",
    scheme=HmacScheme(
        header="x-hub-signature-256",
        prefix="sha256=",
        id=Place(header="x-github-delivery"),
        type=(Place(header="x-github-event"), Place(path="action")),
        time=Place(path="pull_request.updated_at"),
    ),
)
SHOPIFY = entry(
    Provider.HMAC,
    KEY,
    name="shopify",
    types={"orders/create": "order.created"},
    scheme=HmacScheme(
        header="x-shopify-hmac-sha256",
        encoding="base64",
        id=Place(header="x-shopify-webhook-id"),
        type=(Place(header="x-shopify-topic"),),
        time=Place(header="x-shopify-triggered-at"),
    ),
)
WOOCOMMERCE = entry(
    Provider.HMAC,
    KEY,
    name="woo",
    scheme=HmacScheme(
        header="x-wc-webhook-signature",
        encoding="base64",
        id=Place(header="x-wc-webhook-delivery-id"),
        type=(Place(header="x-wc-webhook-topic"),),
        time=Place(path="date_modified_gmt"),
    ),
)
SQUARE = entry(
    Provider.HMAC,
    KEY,
    name="square",
    scheme=HmacScheme(
        header="x-square-hmacsha256-signature",
        encoding="base64",
        signed="{url}{body}",
        url=URL,
        id=Place(path="event_id"),
        type=(Place(path="type"),),
        time=Place(path="created_at"),
    ),
)
SLACK = entry(
    Provider.HMAC,
    KEY,
    name="slack",
    scheme=HmacScheme(
        header="x-slack-signature",
        prefix="v0=",
        signed="v0:{timestamp}:{body}",
        timestamp="x-slack-request-timestamp",
        id=Place(path="event_id"),
        type=(Place(path="event.type"),),
        time=Place(path="event_time"),
    ),
)
WITH_ID = entry(
    Provider.HMAC,
    KEY,
    name="bank",
    scheme=HmacScheme(
        header="x-signature",
        algorithm="sha512",
        signed="{id}|{timestamp}|{body}",
        timestamp="x-time",
        id=Place(header="x-id"),
    ),
)


def github(document: Any) -> tuple[RawHeaders, bytes]:
    body = json.dumps(document).encode()
    return [
        (b"content-type", b"application/json"),
        (b"x-github-event", b"pull_request"),
        (b"x-github-delivery", b"72d3162e-cc78-11e3-81ab-4c9367dc0958"),
        (b"x-hub-signature-256", b"sha256=" + made("sha256", body).hex().encode()),
    ], body


def shopify(document: Any) -> tuple[RawHeaders, bytes]:
    body = json.dumps(document).encode()
    return [
        (b"content-type", b"application/json"),
        (b"x-shopify-topic", b"orders/create"),
        (b"x-shopify-webhook-id", b"b54557e4-bdd9-4b37-8a5f-bf7d70bcd043"),
        (b"x-shopify-triggered-at", b"2026-09-21T13:33:18.286309461Z"),
        (b"x-shopify-hmac-sha256", base64.b64encode(made("sha256", body))),
    ], body


def woocommerce(document: Any) -> tuple[RawHeaders, bytes]:
    body = json.dumps(document).encode()
    return [
        (b"content-type", b"application/json"),
        (b"x-wc-webhook-topic", b"order.updated"),
        (b"x-wc-webhook-delivery-id", b"3c1d8f4a7b2e"),
        (b"x-wc-webhook-signature", base64.b64encode(made("sha256", body))),
    ], body


def square(document: Any) -> tuple[RawHeaders, bytes]:
    body = json.dumps(document).encode()
    return [
        (b"content-type", b"application/json"),
        (
            b"x-square-hmacsha256-signature",
            base64.b64encode(made("sha256", URL.encode(), body)),
        ),
    ], body


def slack(document: Any) -> tuple[RawHeaders, bytes]:
    body = json.dumps(document).encode()
    stamp = str(NOW).encode()
    return [
        (b"content-type", b"application/json"),
        (b"x-slack-request-timestamp", stamp),
        (b"x-slack-signature", b"v0=" + made("sha256", b"v0:", stamp, b":", body).hex().encode()),
    ], body


def bank(document: Any) -> tuple[RawHeaders, bytes]:
    body = json.dumps(document).encode()
    stamp = str(NOW).encode()
    return [
        (b"x-time", stamp),
        (b"x-id", b"op.1"),
        (b"x-signature", made("sha512", b"op.1|", stamp, b"|", body).hex().encode()),
    ], body


PULL_REQUEST = {"action": "opened", "pull_request": {"updated_at": "2026-09-21T13:33:18Z"}}
ORDER = {"id": 549755813, "total_price": "49.00"}
PAYMENT = {
    "merchant_id": "M1",
    "type": "payment.updated",
    "event_id": "6a8f5f28-54a1-4eb0-a98a-3111513fd4fc",
    "created_at": "2026-09-21T13:33:18.000Z",
    "data": {"type": "payment", "id": "p1", "object": {"payment": {"id": "p1"}}},
}
MENTION = {
    "type": "event_callback",
    "event_id": "Ev08MFMKH6",
    "event_time": NOW - 3,
    "event": {"type": "app_mention", "text": "hi"},
}
CASES: list[tuple[Inbound, Callable[[Any], tuple[RawHeaders, bytes]], Any, dict[str, Any]]] = [
    (
        GITHUB,
        github,
        PULL_REQUEST,
        {
            "id": "72d3162e-cc78-11e3-81ab-4c9367dc0958",
            "type": "github.pull_request.opened",
            "created": 1_789_997_598,
        },
    ),
    (
        SHOPIFY,
        shopify,
        ORDER,
        {
            "id": "b54557e4-bdd9-4b37-8a5f-bf7d70bcd043",
            "type": "order.created",
            "created": 1_789_997_598,
        },
    ),
    (
        WOOCOMMERCE,
        woocommerce,
        {"id": 727, "date_modified_gmt": "2026-09-21T13:33:18"},
        {"id": "3c1d8f4a7b2e", "type": "woo.order.updated", "created": 1_789_997_598},
    ),
    (
        SQUARE,
        square,
        PAYMENT,
        {
            "id": "6a8f5f28-54a1-4eb0-a98a-3111513fd4fc",
            "type": "square.payment.updated",
            "created": 1_789_997_598,
        },
    ),
    (
        SLACK,
        slack,
        MENTION,
        {"id": "Ev08MFMKH6", "type": "slack.app_mention", "created": NOW - 3},
    ),
    (
        WITH_ID,
        bank,
        {"n": 1},
        {
            "id": "bank-" + hashlib.sha256(b"op.1").hexdigest(),
            "type": "bank.received",
            "created": NOW,
        },
    ),
]


@pytest.mark.parametrize(
    ("to", "request_of", "document", "expected"), CASES, ids=[each[0].name for each in CASES]
)
def test_a_providers_request(
    to: Inbound,
    request_of: Callable[[Any], tuple[RawHeaders, bytes]],
    document: Any,
    expected: dict[str, Any],
) -> None:
    headers, body = request_of(document)
    came = receive(to, headers, body, now=NOW)
    assert isinstance(came, Verified), came
    assert json.loads(came.line) == expected | {"data": {"object": document}}
    assert came.of.key.startswith(f"{to.name}:")
    for length in range(len(body)):
        assert isinstance(receive(to, headers, body[:length], now=NOW), Refused)
    other = replace(to, secrets=(Secret("another key of the same length"),))
    assert isinstance(receive(other, headers, body, now=NOW), Refused)
    scheme = scheme_of(to)
    for name in (scheme.header, scheme.timestamp):
        if name:
            without = [pair for pair in headers if pair[0].decode() != name]
            missing = receive(to, without, body, now=NOW)
            assert isinstance(missing, Refused)
            assert missing.code is RefusalCode.NO_SIGNATURE
            twice = [*headers, *(pair for pair in headers if pair[0].decode() == name)]
            assert isinstance(receive(to, twice, body, now=NOW), Refused)


def test_githubs_own_example() -> None:
    scheme = replace(scheme_of(GITHUB), id=None, type=())
    secret = Secret("It's a Secret to Everybody")
    assert sign(b"Hello, World!", scheme, secret, timestamp="", event_id="") == (
        "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    )


SLASH_COMMAND = (
    b"token=xyzz0WbapA4vBCDEFasx0q6G&team_id=T1DC2JH3J&team_domain=testteamnow"
    b"&channel_id=G8PSS9T3V&channel_name=foobar&user_id=U2CERLKJA&user_name=roadrunner"
    b"&command=%2Fwebhook-collect&text=&response_url=https%3A%2F%2Fhooks.slack.com%2Fcommands"
    b"%2FT1DC2JH3J%2F397700885554%2F96rGlfmibIGlgcZRskXaIFfN"
    b"&trigger_id=398738663015.47445629121.803a0bc887a14d10d2c447fce8b6703c"
)


def test_slacks_own_example_a_form() -> None:
    to = replace(
        SLACK,
        secrets=(Secret("8f742231b10e8888abcd99yyyzzz85a5"),),
        scheme=replace(scheme_of(SLACK), type=(Place(path="command"),), id=None, time=None),
    )
    headers = [
        (b"content-type", b"application/x-www-form-urlencoded"),
        (b"x-slack-request-timestamp", b"1531420618"),
        (
            b"x-slack-signature",
            b"v0=a2114d57b48eac39b9ad189dd8316235a7b4a8d21a10bd27519666489c69b503",
        ),
    ]
    came = receive(to, headers, SLASH_COMMAND, now=1_531_420_700)
    assert isinstance(came, Verified), came
    line = json.loads(came.line)
    fields = parse_qs(SLASH_COMMAND.decode(), keep_blank_values=True)
    assert line["data"]["object"] == {key: value for key, [value] in fields.items()}
    assert (line["type"], line["created"]) == ("slack.webhook_collect", 1_531_420_618)
    assert line["id"] == hashlib.sha256(SLASH_COMMAND).hexdigest()
    stale = receive(to, headers, SLASH_COMMAND, now=1_531_420_919)
    assert isinstance(stale, Refused)
    assert stale.code is RefusalCode.STALE


def test_squares_signature_is_of_one_url() -> None:
    elsewhere = replace(SQUARE, scheme=replace(scheme_of(SQUARE), url=URL + "/"))
    assert isinstance(receive(elsewhere, *square(PAYMENT), now=NOW), Refused)


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_each_algorithm_and_no_other(algorithm: Any) -> None:
    body = b"{}"
    for other in ("sha1", "sha256", "sha512", "md5"):
        to = entry(Provider.HMAC, KEY, name="x", scheme=HmacScheme("x-s", algorithm=algorithm))
        came = receive(to, [(b"x-s", made(other, body).hex().encode())], body, now=NOW)
        assert isinstance(came, Verified) is (other == algorithm)


def test_the_same_body_is_the_same_event_where_there_is_no_id() -> None:
    to = entry(Provider.HMAC, KEY, name="x", scheme=HmacScheme("x-s"))
    keys = set()
    for body in (b'{"a":1}', b'{"a":1}', b'{"a":2}'):
        came = receive(to, [(b"X-S", made("sha256", body).hex().encode())], body, now=NOW)
        assert isinstance(came, Verified)
        keys.add(came.of.key)
    assert len(keys) == 2


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"{}", "missing_key"),
        (b'{"id":true}', "missing_key"),
        (b'{"id":"a"}', "missing_key"),
        (b'{"id":1,"kind":"\xc3\xa9"}', "invalid_type"),
        (b"[1]", "missing_key"),
    ],
)
def test_what_is_signed_and_cannot_be_an_event_is_kept(body: bytes, code: str) -> None:
    scheme = HmacScheme("x-s", id=Place(path="id"), type=(Place(path="kind"),))
    to = entry(Provider.HMAC, KEY, name="x", scheme=scheme)
    came = receive(to, [(b"x-s", made("sha256", body).hex().encode())], body, now=NOW)
    assert isinstance(came, Unmappable)
    assert came.rejection.code == code


def test_an_id_or_a_type_that_is_too_long_is_said_to_be_that() -> None:
    scheme = HmacScheme("x-s", id=Place(header="x-id"), type=(Place(path="kind"),))
    to = entry(Provider.HMAC, KEY, name="x", scheme=scheme)

    def why(event_id: bytes, body: bytes) -> tuple[str, str]:
        signature = made("sha256", body).hex().encode()
        came = receive(to, [(b"x-s", signature), (b"x-id", event_id)], body, now=NOW)
        assert isinstance(came, Unmappable)
        return came.rejection.code, came.rejection.reason

    long = why(b"a" * 257, b'{"kind":"a"}')
    assert long == ("invalid_id", "the id is too long: it has 257 characters, and may have 256")
    assert why(b"", b'{"kind":"a"}') == ("missing_key", "the request has no id at header x-id")
    code, reason = why(b"a", b'{"kind":"' + b"a." * 5000 + b'"}')
    assert code == "invalid_type"
    assert "cannot be a type of relayd's" in reason


@pytest.mark.parametrize(
    ("written", "ours"),
    [
        ("order.created", "x.order.created"),
        ("orders/create", "x.orders.create"),
        ("OrderCreated", "x.order_created"),
        ("order-created", "x.order_created"),
        ("ORDER CREATED", "x.order.created"),
        ("2fa.enabled", "x.x2fa.enabled"),
        ("_hidden.é.a", "x.hidden.a"),
        ("a..b", "x.a.b"),
        ("relayd.endpoint.failing", "x.relayd.endpoint.failing"),
        ("a" * 126, "x." + "a" * 126),
    ],
)
def test_a_type_becomes_one_of_relayds(written: str, ours: str) -> None:
    scheme = HmacScheme("x-s", type=(Place(path="t"),))
    body = json.dumps({"t": written}).encode()
    to = entry(Provider.HMAC, KEY, name="x", scheme=scheme)
    came = receive(to, [(b"x-s", made("sha256", body).hex().encode())], body, now=NOW)
    assert isinstance(came, Verified)
    assert came.type == ours


@pytest.mark.parametrize("written", ["...", "é", "a" * 127, "-"])
def test_a_type_that_cannot_be_one(written: str) -> None:
    scheme = HmacScheme("x-s", type=(Place(path="t"),))
    body = json.dumps({"t": written}).encode()
    headers = [(b"x-s", made("sha256", body).hex().encode())]
    to = entry(Provider.HMAC, KEY, name="x", scheme=scheme)
    assert isinstance(receive(to, headers, body, now=NOW), Unmappable)
    named = replace(to, types={written: "order.created"})
    assert isinstance(receive(named, headers, body, now=NOW), Verified)
