"""Webhooks as the queue is given them, for tests."""

from hashlib import sha256

from events import make_event

from relayd.core.acceptance import NewEvent, RejectedRow
from relayd.core.event import Rejection, SpoolRow
from relayd.core.webhook import Webhook


def webhook(key: str = "stripe:evt_1", token: str = "", raw: bytes = b'{"a": 1}') -> Webhook:
    return Webhook(key, token, '{"content-type": "x"}', raw, len(raw), sha256(raw).digest())


def inbound(event_id: str, made_of: Webhook, *names: str, text: str = "x") -> NewEvent:
    """Return an event that came by a webhook, for these subscriptions."""
    return NewEvent(
        make_event(event_id, data={"object": {"id": text}}), "inbound stripe", names, (), made_of
    )


def unmappable(made_of: Webhook, source: str = "inbound stripe") -> RejectedRow:
    row = SpoolRow(0, made_of.key.encode(), None, made_of.raw, None, b"market_1", None)
    return RejectedRow(source, row, Rejection("invalid_type", "no type"), made_of)
