"""Requests of providers to a running web process, signed now, and the entries that take them."""

import json
import time
from collections.abc import Mapping
from typing import Any

import stripe
from providers import MAILGUN_KEY, SECRET, mailgun_request, mailgun_signature

INBOUND = {
    "stripe": {"provider": "stripe", "secret": SECRET},
    "stripe-too": {"provider": "stripe", "secret": SECRET},
    "mailgun": {"provider": "mailgun", "secret": MAILGUN_KEY},
}


def stripe_post(event: Mapping[str, Any], *, secret: str = SECRET) -> tuple[bytes, dict[str, str]]:
    """Return body and headers as the `stripe` package has them signed, now."""
    body = json.dumps(event, indent=2)
    at = int(time.time())
    made = stripe.WebhookSignature._compute_signature(f"{at}.{body}", secret)
    return body.encode(), {
        "Stripe-Signature": f"t={at},v1={made}",
        "Content-Type": "application/json",
    }


def mailgun_post(
    event: Mapping[str, Any], token: str | None = None
) -> tuple[bytes, dict[str, str]]:
    given = {} if token is None else {"token": token}
    _, body = mailgun_request(event, mailgun_signature(at=int(time.time()), **given))
    return body, {"Content-Type": "application/json"}
