"""Stripe's webhooks: what the stripe package makes and accepts, and both kinds of events."""

import json
from typing import Any

import pytest
import stripe
from providers import (
    NOW,
    SECRET,
    entry,
    stripe_cli_headers,
    stripe_event,
    stripe_header,
    stripe_request,
    stripe_thin_event,
)

from relayd.core.inbound.entry import Provider
from relayd.core.inbound.receive import receive
from relayd.core.inbound.stripe import sign
from relayd.core.inbound.verdict import RefusalCode, Refused, Unmappable, Verified
from relayd.core.secret import Secret

STRIPE = entry(Provider.STRIPE)


def verified(event: Any, **given: Any) -> dict[str, Any]:
    came = receive(given.pop("to", STRIPE), *stripe_request(event), now=NOW)
    assert isinstance(came, Verified), came
    line: dict[str, Any] = json.loads(came.line)
    assert (line["id"], line["type"]) == (came.event_id, came.type)
    return line


def refused(headers: Any, body: bytes, *, now: float = NOW, to: Any = STRIPE) -> Refused:
    came = receive(to, headers, body, now=now)
    assert isinstance(came, Refused), came
    return came


def test_a_snapshot_event_becomes_the_event_of_the_contract() -> None:
    event = stripe_event(account="acct_1", context="ctx_1")
    event["data"]["previous_attributes"] = {"status": "processing"}
    assert verified(event) == {
        "id": event["id"],
        "type": "payment.succeeded",
        "created": NOW - 2,
        "data": {
            "object": event["data"]["object"],
            "previous_attributes": {"status": "processing"},
            "account": "acct_1",
            "context": "ctx_1",
            "livemode": True,
            "request": {"id": "req_5xYz", "idempotency_key": "order_456"},
        },
        "api_version": "2026-09-30.dahlia",
    }


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("payment_intent.succeeded", "payment.succeeded"),
        ("payment_intent.payment_failed", "payment.failed"),
        ("charge.refunded", "payment.refunded"),
        ("customer.subscription.created", "stripe.customer.subscription.created"),
        ("checkout.session.completed", "stripe.checkout.session.completed"),
        ("v2.core.account[requirements].updated", "stripe.v2.core.account.requirements.updated"),
        (
            "v2.core.account[configuration.merchant].capability_status_updated",
            "stripe.v2.core.account.configuration.merchant.capability_status_updated",
        ),
    ],
)
def test_types(theirs: str, ours: str) -> None:
    assert verified(stripe_event(theirs))["type"] == ours


def test_the_mapping_can_be_extended() -> None:
    to = entry(
        Provider.STRIPE,
        types={"charge.refunded": "order.updated", "invoice.paid": "payment.succeeded"},
    )
    assert verified(stripe_event("charge.refunded"), to=to)["type"] == "order.updated"
    assert verified(stripe_event("invoice.paid"), to=to)["type"] == "payment.succeeded"
    assert verified(stripe_event("payment_intent.succeeded"), to=to)["type"] == "payment.succeeded"


def test_a_thin_event_names_its_object() -> None:
    assert verified(stripe_thin_event(data={"summary": "two"})) == {
        "id": "evt_test_65R2GpVTIPBcl",
        "type": "stripe.v1.customer.created",
        "created": 1_789_997_598,
        "data": {
            "object": {"id": "cus_Q1", "type": "customer", "url": "/v1/customers/cus_Q1"},
            "context": "acct_1Fq",
            "livemode": True,
            "request": {"id": "req_v2_1", "idempotency_key": "k-1"},
            "details": {"summary": "two"},
        },
    }


def test_a_thin_event_about_nothing_and_of_a_change() -> None:
    line = verified(stripe_thin_event(related_object=None, changes={"before": {"name": "a"}}))
    assert line["data"]["object"] == {}
    assert line["data"]["previous_attributes"] == {"name": "a"}


def test_two_tries_of_one_event_have_one_key() -> None:
    first = receive(STRIPE, *stripe_request(stripe_event()), now=NOW)
    again = receive(
        entry(Provider.STRIPE, name="other"),
        *stripe_request(stripe_event(pending_webhooks=0, api_version="2020-01-01"), at=NOW + 9),
        now=NOW + 9,
    )
    assert isinstance(first, Verified)
    assert isinstance(again, Verified)
    assert first.of.key == again.of.key == f"stripe:{stripe_event()['id']}"


def test_test_mode_is_refused_unless_it_is_allowed() -> None:
    headers, body = stripe_request(stripe_event(livemode=False))
    came = refused(headers, body)
    assert (came.code, came.status) == (RefusalCode.TEST_MODE, 403)
    allowed = receive(entry(Provider.STRIPE, allow_test_mode=True), headers, body, now=NOW)
    assert isinstance(allowed, Verified)
    assert allowed.livemode is False
    assert json.loads(allowed.line)["data"]["livemode"] is False


CLI_SECRET = "whsec_" + "0123456789abcdef" * 4
"""The command-line tool's own has 64 hex digits: it is a text, and no base64."""


@pytest.mark.parametrize(
    ("event", "ours"),
    [
        (stripe_event(livemode=False), "payment.succeeded"),
        (stripe_event("customer.created", livemode=False, request=None), "stripe.customer.created"),
        (
            stripe_event("charge.refunded", livemode=False, account="acct_1", api_version=None),
            "payment.refunded",
        ),
        (
            stripe_thin_event(
                livemode=False, context=None, reason=None, related_object=None, changes=None
            ),
            "stripe.v1.customer.created",
        ),
        (
            stripe_thin_event(type="v2.core.event_destination.ping", livemode=False, data=None),
            "stripe.v2.core.event_destination.ping",
        ),
    ],
)
def test_what_the_command_line_tool_forwards_is_accepted_in_test_mode(
    event: dict[str, Any], ours: str
) -> None:
    body = json.dumps(event, indent=2).encode()
    headers = stripe_cli_headers(body, CLI_SECRET)
    to = entry(Provider.STRIPE, CLI_SECRET, allow_test_mode=True)
    came = receive(to, headers, body, now=NOW)
    assert isinstance(came, Verified), came
    assert (came.type, came.livemode) == (ours, False)
    live = receive(entry(Provider.STRIPE, CLI_SECRET), headers, body, now=NOW)
    assert isinstance(live, Refused)
    assert (live.code, live.status) == (RefusalCode.TEST_MODE, 403)
    of_the_endpoint = receive(entry(Provider.STRIPE, allow_test_mode=True), headers, body, now=NOW)
    assert isinstance(of_the_endpoint, Refused)
    assert "a live, a test and a CLI endpoint each have" in of_the_endpoint.reason


# -- against the stripe package --------------------------------------------------------------------


def test_what_the_stripe_package_signs_is_verified() -> None:
    body = json.dumps(stripe_event()).encode()
    header = stripe.WebhookSignature.generate_signature_header(body.decode(), SECRET, NOW)
    assert isinstance(
        receive(STRIPE, [(b"stripe-signature", header.encode())], body, now=NOW), Verified
    )


@pytest.mark.parametrize("event", [stripe_event(), stripe_event("invoice.paid", note="é🥕")])
def test_what_relayd_signs_the_stripe_package_accepts(event: dict[str, Any]) -> None:
    body = json.dumps(event, ensure_ascii=False).encode()
    header = sign(body, Secret(SECRET), NOW)
    accepted = stripe.Webhook.construct_event(body, header, SECRET, tolerance=10**10)
    assert accepted["id"] == event["id"]
    assert isinstance(
        receive(STRIPE, [(b"Stripe-Signature", header.encode())], body, now=NOW), Verified
    )


# -- the signature -----------------------------------------------------------------------------------


def test_any_v1_may_match_and_any_secret() -> None:
    _, body = stripe_request(stripe_event())
    old, new = stripe_header(body, secret="whsec_old"), stripe_header(body)
    both = old + b"," + new.split(b",")[1]
    for secrets in ((SECRET,), ("whsec_other", SECRET), ("whsec_old", "whsec_unused")):
        to = entry(Provider.STRIPE, *secrets)
        assert isinstance(receive(to, [(b"stripe-signature", both)], body, now=NOW), Verified)
    other = entry(Provider.STRIPE, "whsec_3")
    assert refused([(b"stripe-signature", both)], body, to=other).status == 401


@pytest.mark.parametrize("age", [-300, -299, 0, 299, 300])
def test_a_signed_time_within_five_minutes_both_ways(age: int) -> None:
    headers, body = stripe_request(stripe_event())
    assert isinstance(receive(STRIPE, headers, body, now=NOW + age), Verified)


@pytest.mark.parametrize("age", [-301, 301, 86_400, -86_400])
def test_a_signed_time_that_is_too_far(age: int) -> None:
    came = refused(*stripe_request(stripe_event()), now=NOW + age)
    assert (came.code, came.status) == (RefusalCode.STALE, 401)
    assert f"{abs(age)} s {'old' if age > 0 else 'ahead'}" in came.reason


def test_v0_counts_for_nothing() -> None:
    _, body = stripe_request(stripe_event())
    came = refused([(b"stripe-signature", stripe_header(body, scheme="v0"))], body)
    assert came.code is RefusalCode.WRONG_SIGNATURE


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda value: value[:-1], RefusalCode.WRONG_SIGNATURE),
        (lambda value: value + b"0", RefusalCode.WRONG_SIGNATURE),
        (lambda value: value.upper().replace(b"T=", b"t=").replace(b"V1=", b"v1="), None),
        (lambda value: value.replace(b",", b", "), None),
        (lambda value: b" " + value, None),
        (lambda value: value.replace(b"t=", b"t=0"), None),
        (lambda value: value.replace(b"t=", b"t=+"), None),
        (lambda value: value.replace(b"t=", b"t=%d,t=" % (NOW + 1)), None),
        (lambda value: b",".join(reversed(value.split(b",")[1:])), None),
        (lambda value: value.replace(b"v1=", b"v1=,v2="), None),
        (lambda value: value.split(b",")[0], None),
        (lambda value: value + b",v1=0" * 20, None),
        (lambda _: b"", None),
    ],
)
def test_a_damaged_header_is_refused(damage: Any, code: RefusalCode | None) -> None:
    headers, body = stripe_request(stripe_event())
    came = refused([(b"stripe-signature", damage(dict(headers)[b"stripe-signature"]))], body)
    assert came.code is (code or RefusalCode.WRONG_SIGNATURE)
    assert came.status == 401


def test_the_order_within_the_header_says_nothing() -> None:
    headers, body = stripe_request(stripe_event())
    swapped = b",".join(reversed(dict(headers)[b"stripe-signature"].split(b",")))
    assert isinstance(receive(STRIPE, [(b"stripe-signature", swapped)], body, now=NOW), Verified)


def test_without_the_header_or_with_two_it_is_refused() -> None:
    headers, body = stripe_request(stripe_event())
    assert refused(headers[:2], body).code is RefusalCode.NO_SIGNATURE
    twice = refused([*headers, headers[2]], body)
    assert twice.code is RefusalCode.WRONG_SIGNATURE
    assert "more than one" in twice.reason


def test_an_entry_without_a_secret_takes_nothing() -> None:
    headers, body = stripe_request(stripe_event())
    came = receive(
        entry(Provider.STRIPE).__class__("x", Provider.STRIPE, "m", ()), headers, body, now=NOW
    )
    assert isinstance(came, Refused)


# -- what cannot be mapped ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code", "key"),
    [
        (b"", "invalid_json", None),
        (b"[]", "not_an_object", None),
        (b"\xff{}", "invalid_text", None),
        (b"{}", "missing_key", None),
        (b'{"id":"evt_1"}', "missing_key", "stripe:evt_1"),
        (b'{"id":"evt_1","type":"\xc3\xa9"}', "invalid_type", "stripe:evt_1"),
        (b"[" * 200 + b"]" * 200, "too_deep", None),
        (
            b'{"id":"evt_1","type":"a","data":{"object":{"a":"' + b"x" * 1_100_000 + b'"}}}',
            "too_large",
            "stripe:evt_1",
        ),
    ],
)
def test_what_is_signed_and_cannot_be_an_event_is_kept(
    body: bytes, code: str, key: str | None
) -> None:
    headers = [(b"stripe-signature", stripe_header(body)), (b"content-type", b"application/json")]
    came = receive(STRIPE, headers, body, now=NOW)
    assert isinstance(came, Unmappable), came
    assert came.rejection.code == code
    assert came.headers == (("content-type", "application/json"),)
    if key:
        assert came.of.key == key
    else:
        again = receive(STRIPE, headers, body, now=NOW)
        assert isinstance(again, Unmappable)
        assert came.of == again.of


def test_an_odd_time_is_the_arrival_and_no_reason_to_lose_an_event() -> None:
    odd: tuple[Any, ...] = (None, -1, "yesterday", True, 10**40, [], 1.5e300)
    for created in odd:
        assert verified(stripe_event(created=created))["created"] == NOW


def test_an_id_that_cannot_be_one_of_relayds_is_a_digest() -> None:
    line = verified(stripe_event(id="evt.1"))
    assert line["id"].startswith("stripe-")
    assert len(line["id"]) == len("stripe-") + 64
    assert line["id"] == verified(stripe_event(id="evt.1"))["id"]


def test_numbers_keep_their_digits() -> None:
    body = b'{"id":"evt_1","type":"a.b","data":{"object":{"n":12345678901234567890,"f":1.50,"e":1e400}}}'
    came = receive(STRIPE, [(b"stripe-signature", stripe_header(body))], body, now=NOW)
    assert isinstance(came, Verified)
    assert b'"n":12345678901234567890,"f":1.5,"e":1e400' in came.line
    assert b"\n" not in came.line


def test_no_repr_shows_a_secret_or_a_payload() -> None:
    came = receive(STRIPE, *stripe_request(stripe_event()), now=NOW)
    for shown in (repr(STRIPE), repr(came)):
        assert SECRET not in shown
        assert "pi_3PqB2E" not in shown
