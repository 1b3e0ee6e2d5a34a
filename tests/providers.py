"""Requests as providers make them, for tests of inbound webhooks: small samples of their documented shapes."""

import base64
import hashlib
import hmac
import json
from typing import Any

from relayd.core.inbound.entry import Inbound, Provider
from relayd.core.inbound.request import RawHeaders
from relayd.core.secret import Secret

NOW = 1_790_000_000
SECRET = "whsec_b3Jkcm5lci1vZi10aGUtc3VpdGU="
MAILGUN_KEY = "key-for-the-suite-0123456789"
TOKEN = "a8ce0edb2dd8301dee6c2405235584e45aa91d1e9f979f3de0"


def entry(provider: Provider, *secrets: str, **given: Any) -> Inbound:
    """Return an entry, named as its provider, with `secrets`, or that of the suite."""
    return Inbound(
        **{
            "name": given.pop("name", str(provider)),
            "provider": provider,
            "market_id": "market_123",
            "secrets": tuple(map(Secret, secrets or (SECRET,))),
            **given,
        }
    )


def stripe_event(kind: str = "payment_intent.succeeded", **changes: Any) -> dict[str, Any]:
    """Return a snapshot event of Stripe's."""
    return {
        "id": "evt_1PqB2ELmockCustomer01",
        "object": "event",
        "api_version": "2026-09-30.dahlia",
        "created": NOW - 2,
        "data": {
            "object": {"id": "pi_3PqB2E", "object": "payment_intent", "amount": 4250},
        },
        "livemode": True,
        "pending_webhooks": 1,
        "request": {"id": "req_5xYz", "idempotency_key": "order_456"},
        "type": kind,
    } | changes


def stripe_thin_event(**changes: Any) -> dict[str, Any]:
    """Return a thin event of Stripe's."""
    return {
        "id": "evt_test_65R2GpVTIPBcl",
        "object": "v2.core.event",
        "type": "v1.customer.created",
        "created": "2026-09-21T13:33:18.000Z",
        "context": "acct_1Fq",
        "livemode": True,
        "reason": {"type": "request", "request": {"id": "req_v2_1", "idempotency_key": "k-1"}},
        "related_object": {"id": "cus_Q1", "type": "customer", "url": "/v1/customers/cus_Q1"},
    } | changes


def stripe_header(body: bytes, *, secret: str = SECRET, at: int = NOW, scheme: str = "v1") -> bytes:
    """Return the value of Stripe-Signature, by the documented rule."""
    made = hmac.new(secret.encode(), b"%d." % at + body, hashlib.sha256).hexdigest()
    return f"t={at},{scheme}={made}".encode()


def stripe_request(event: Any, **given: Any) -> tuple[RawHeaders, bytes]:
    """Return headers and body as Stripe sends them, which indents its JSON."""
    body = json.dumps(event, indent=2).encode()
    return [
        (b"content-type", b"application/json; charset=utf-8"),
        (b"user-agent", b"Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
        (b"stripe-signature", stripe_header(body, **given)),
    ], body


def mailgun_signature(
    *, key: str = MAILGUN_KEY, at: int = NOW, token: str = TOKEN
) -> dict[str, str]:
    """Return Mailgun's three fields, by the documented rule."""
    made = hmac.new(key.encode(), f"{at}{token}".encode(), hashlib.sha256).hexdigest()
    return {"timestamp": str(at), "token": token, "signature": made}


def mailgun_event(kind: str = "delivered", **changes: Any) -> dict[str, Any]:
    """Return the event-data of one of Mailgun's event webhooks."""
    return {
        "event": kind,
        "id": "CPgfbmQMTCKtHW6uIWtuVe",
        "timestamp": NOW - 1.25,
        "log-level": "info",
        "recipient": "rosa@example.com",
        "recipient-domain": "example.com",
        "tags": ["receipt"],
        "user-variables": {"order_id": "order_456"},
        "message": {
            "headers": {"message-id": "20261120.1@market.example", "subject": "Your order"}
        },
        "delivery-status": {"code": 250, "message": "OK", "attempt-no": 1},
        "domain": {"name": "market.example"},
        "account": {"id": "acc_1"},
    } | changes


def mailgun_request(
    event: Any, signature: dict[str, str] | None = None
) -> tuple[RawHeaders, bytes]:
    """Return headers and body of an event webhook."""
    body = json.dumps({"signature": signature or mailgun_signature(), "event-data": event}).encode()
    return [(b"content-type", b"application/json"), (b"user-agent", b"mailgun/treq-22.1.0")], body


def standard_request(
    document: Any, *, secret: str = SECRET, at: int = NOW, event_id: str = "msg_2KWPBgLlAfxdpx2AI"
) -> tuple[RawHeaders, bytes]:
    """Return headers and body by the specification's rule."""
    body = json.dumps(document).encode()
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{event_id}.{at}.".encode() + body
    made = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
    return [
        (b"content-type", b"application/json"),
        (b"webhook-id", event_id.encode()),
        (b"webhook-timestamp", str(at).encode()),
        (b"webhook-signature", b"v1," + made),
    ], body


def multipart(fields: list[tuple[str, str, str | None]], boundary: str = "----mg7d1") -> bytes:
    """Return a multipart form of names, texts, and files' names where they are files."""
    parts = []
    for name, text, filename in fields:
        of_file = "" if filename is None else f'; filename="{filename}"\r\nContent-Type: text/plain'
        parts.append(
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"{of_file}\r\n\r\n{text}\r\n'
        )
    return ("".join(parts) + f"--{boundary}--\r\n").encode()


def mailgun_test_webhook(kind: str) -> dict[str, Any]:
    """Return the event-data that Mailgun's "Test webhook" sends: the same each time, of 2018."""
    ids = {
        "delivered": ("CPgfbmQMTCKtHW6uIWtuVe", 1521472262.908181),
        "failed": ("G9Bn5sl1TC6nu79C8C0bwg", 1521233195.375624),
    }
    # Those of these three have one id.
    event_id, timestamp = ids.get(kind, ("Ase7i2zsRYeDXztHGENqRA", 1521243339.873676))
    more: dict[str, Any] = {"severity": "permanent", "reason": "suppress-bounce"}
    return {
        "id": event_id,
        "timestamp": timestamp,
        "log-level": "info",
        "event": kind,
        "message": {
            "headers": {"message-id": "20130503182626.18666.16540@market.example"},
            "attachments": [],
            "size": 111,
        },
        "recipient": "alice@example.com",
        "recipient-domain": "example.com",
        "campaigns": [],
        "tags": ["my_tag_1", "my_tag_2"],
        "user-variables": {"my_var_1": "Mailgun Variable #1", "my-var-2": "awesome"},
        "flags": {"is-routed": False, "is-system-test": False, "is-test-mode": False},
        "storage": {"url": "https://se.api.mailgun.net/v3/domains/x/messages/k", "key": "k"},
        "delivery-status": {"tls": True, "code": 250, "description": None, "attempt-no": 1},
        **(more if kind == "failed" else {}),
    }


def stripe_cli_headers(body: bytes, secret: str, at: int = NOW) -> RawHeaders:
    """Return headers as `stripe listen --forward-to` passes them on, by Go's HTTP client."""
    v1 = stripe_header(body, secret=secret, at=at)
    v0 = hmac.new(b"another", b"%d." % at + body, hashlib.sha256).hexdigest().encode()
    return [
        (b"host", b"127.0.0.1:8787"),
        (b"user-agent", b"Stripe/1.0 (+https://stripe.com/docs/webhooks)"),
        (b"content-length", b"%d" % len(body)),
        (b"accept", b"*/*; q=0.5, application/xml"),
        (b"cache-control", b"no-cache"),
        (b"content-type", b"application/json; charset=utf-8"),
        (b"stripe-signature", v1 + b",v0=" + v0),
        (b"accept-encoding", b"gzip"),
    ]
