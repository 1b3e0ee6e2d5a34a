"""What is put in the place of a required key that is missing, and how such a key may be written."""

from typing import Final

STAND_INS: Final[dict[str, object]] = {
    "market_id": "stand-in",
    "queue": {"path": "stand-in"},
    "path": "stand-in",
    "url": "https://stand-in.example/",
    "events": ["*"],
    "secret": "stand-in",
    "header": "X-Stand-In",
    "listen": "127.0.0.1:8787",
    "token": "stand-in-stand-in",
    "host": "stand-in.example",
    "provider": "stripe",
    "from": "stand-in@stand-in.example",
}
"""By the missing key, so that what else there is can be checked."""

ITEM_STAND_INS: Final[dict[str | int, object]] = {
    "events": "*",
    "retry": "1s",
    "event_types": "stand_in",
    "allow_networks": "192.0.2.1/32",
    "allow_from": "192.0.2.1/32",
    "type": {},
    "include": "stand-in",
}
"""In a list under this key, for an item that does not fit."""

EXAMPLES: Final = {
    "market_id": "market_123",
    "queue": "{path: queue.db}",
    "path": "/var/lib/relayd/spool/spool.db",
    "url": "https://your-app.com/webhooks",
    "events": "[order.created]",
    "secret": "{file: PATH}",
    "header": "X-Hub-Signature-256",
    "listen": "127.0.0.1:8787",
    "token": "{file: PATH}",
    "host": "smtp.example.com",
    "provider": "stripe",
    "from": "relayd@your-market.com",
}
"""How a required key may be written, for the hint where it is missing."""
