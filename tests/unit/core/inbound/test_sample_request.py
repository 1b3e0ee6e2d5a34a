"""What `emit --as` sends: each provider's request is verified, and becomes the type that was meant."""

import json
from typing import Any

import pytest
from providers import MAILGUN_KEY, NOW, SECRET, entry

from relayd.core.catalogue import EMAIL_TYPES
from relayd.core.inbound.entry import HmacScheme, Inbound, Place, Provider
from relayd.core.inbound.receive import receive
from relayd.core.inbound.request import RawHeaders
from relayd.core.inbound.sample_request import Sample, SampleRequest, sample_request
from relayd.core.inbound.verdict import Verified

STRIPE = entry(Provider.STRIPE, types={"invoice.paid": "order.payment_processed"})
MAILGUN = entry(Provider.MAILGUN, MAILGUN_KEY, name="mg")
CLERK = entry(Provider.STANDARD, SECRET, name="clerk")
SHOP = entry(
    Provider.HMAC,
    name="shop",
    scheme=HmacScheme(
        header="x-signature",
        algorithm="sha512",
        encoding="base64",
        prefix="v1:",
        signed="{id}.{timestamp}.{url}.{body}",
        url="https://relay.example/in/shop",
        timestamp="x-time",
        id=Place(header="x-id"),
        type=(Place(header="x-topic"), Place(path="event.action")),
        time=Place(path="event.at"),
    ),
)
BARE = entry(Provider.HMAC, name="bare", scheme=HmacScheme(header="x-signature"))


def raw(request: SampleRequest) -> tuple[RawHeaders, bytes]:
    headers = [(name.encode(), value.encode()) for name, value in request.headers]
    return headers, request.body


def sent(to: Inbound, sample: Sample) -> dict[str, Any]:
    came = receive(to, *raw(sample_request(to, sample, now=NOW, token="t" * 50)), now=NOW)
    assert isinstance(came, Verified), came
    line: dict[str, Any] = json.loads(came.line)
    return line


@pytest.mark.parametrize(
    ("to", "kind", "ours"),
    [
        (STRIPE, "payment.succeeded", "payment.succeeded"),
        (STRIPE, "payment_intent.payment_failed", "payment.failed"),
        (STRIPE, "order.payment_processed", "order.payment_processed"),
        (STRIPE, "invoice.created", "stripe.invoice.created"),
        (STRIPE, "stripe.invoice.created", "stripe.invoice.created"),
        (STRIPE, "ping", "stripe.ping"),
        *((MAILGUN, each, each) for each in EMAIL_TYPES),
        (MAILGUN, "failed.temporary", "email.delayed"),
        (MAILGUN, "mailgun.rejected", "mailgun.rejected"),
        (CLERK, "user.created", "clerk.user.created"),
        (CLERK, "clerk.user.created", "clerk.user.created"),
        (SHOP, "orders.created", "shop.orders.created"),
        (SHOP, "orders", "shop.orders"),
        (BARE, "whatever", "bare.received"),
    ],
)
def test_each_is_taken_for_the_providers(to: Inbound, kind: str, ours: str) -> None:
    line = sent(to, Sample(kind, "evt_1", NOW - 60))
    assert line["type"] == ours
    if to is not BARE:
        assert (line["id"], line["created"]) == ("evt_1", NOW - 60)


@pytest.mark.parametrize(
    "to", [STRIPE, MAILGUN, CLERK, SHOP, BARE], ids=lambda each: str(each.name)
)
def test_what_is_given_is_what_it_is_about(to: Inbound) -> None:
    line = sent(to, Sample("orders.created", "evt_1", NOW, {"id": "order_456", "n": 1}))
    assert line["data"]["object"]["n"] == 1


def test_an_entry_that_takes_test_mode_gets_it() -> None:
    to = entry(Provider.STRIPE, allow_test_mode=True)
    assert sent(to, Sample("ping", "evt_1", NOW))["data"]["livemode"] is False
    assert sent(STRIPE, Sample("ping", "evt_1", NOW))["data"]["livemode"] is True
