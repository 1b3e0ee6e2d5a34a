"""Sample data of each type of event about e-mail, as Mailgun's webhooks give them."""

from collections.abc import Mapping
from typing import Final

from relayd.core.json_text import JsonValue


def _email(event: str, *more: Mapping[str, JsonValue]) -> dict[str, JsonValue]:
    said: dict[str, JsonValue] = {
        "id": "CPgfbmQMTCKtHW6uIWtuVe",
        "event": event,
        "timestamp": 1704882600.25,
        "recipient": "rosa@example.com",
        "recipient-domain": "example.com",
        "tags": ["receipt"],
        "user-variables": {"order_id": "order_456"},
        "message": {
            "headers": {
                "message-id": "20240110103000.1.0A1B2C@market.example",
                "from": "Downtown Farmers Market <orders@market.example>",
                "to": "rosa@example.com",
                "subject": "Your order order_456",
            }
        },
        "domain": {"name": "market.example"},
        "account": {"id": "acc_123"},
    }
    for each in more:
        said.update(each)
    return {"object": said}


_READER: Final[dict[str, JsonValue]] = {
    "ip": "203.0.113.7",
    "geolocation": {"country": "US", "region": "GA", "city": "Athens"},
    "client-info": {"client-type": "mobile browser", "device-type": "mobile"},
}

EMAIL_SAMPLES: Final[Mapping[str, dict[str, JsonValue]]] = {
    "email.accepted": _email(
        "accepted", {"method": "smtp", "envelope": {"sender": "orders@market.example"}}
    ),
    "email.delivered": _email(
        "delivered",
        {
            "delivery-status": {
                "code": 250,
                "message": "OK",
                "attempt-no": 1,
                "mx-host": "mx.example.com",
            }
        },
    ),
    "email.bounced": _email(
        "failed",
        {
            "severity": "permanent",
            "reason": "bounce",
            "delivery-status": {
                "code": 550,
                "enhanced-code": "5.1.1",
                "message": "5.1.1 The email account that you tried to reach does not exist",
                "attempt-no": 1,
            },
        },
    ),
    "email.delayed": _email(
        "failed",
        {
            "severity": "temporary",
            "reason": "generic",
            "delivery-status": {
                "code": 452,
                "enhanced-code": "4.2.2",
                "message": "4.2.2 The email account that you tried to reach is over quota",
                "attempt-no": 2,
                "retry-seconds": 900,
            },
        },
    ),
    "email.opened": _email("opened", _READER),
    "email.clicked": _email("clicked", {"url": "https://market.example/orders/order_456"}, _READER),
    "email.complained": _email("complained"),
    "email.unsubscribed": _email("unsubscribed", _READER),
    "email.stored": _email(
        "stored",
        {
            "storage": {
                "key": "BAABAgU-stored",
                "url": "https://storage.mailgun.example/BAABAgU-stored",
            }
        },
    ),
}
