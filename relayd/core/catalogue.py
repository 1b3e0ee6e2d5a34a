"""The event types that relayd knows, each with its description and a sample."""

from bisect import bisect
from collections.abc import Iterable
from copy import deepcopy
from difflib import get_close_matches
from functools import lru_cache

from relayd.core.json_text import JsonValue
from relayd.core.samples import SAMPLES

_MARKET = {
    "order.created": "A customer placed an order.",
    "order.updated": "An order's items, pickup or status changed.",
    "order.completed": "An order was picked up.",
    "order.cancelled": "An order was cancelled, by the customer or the market.",
    "order.payment_processed": "An order's payment went through.",
    "user.created": "A customer, grower or manager signed up.",
    "user.updated": "A user's profile changed.",
    "user.deleted": "A user's account was deleted.",
    "user.role_changed": "A user's role changed.",
    "product.created": "A grower listed a new product.",
    "product.updated": "A product's name, price or description changed.",
    "product.deleted": "A product was removed from the market.",
    "inventory.updated": "A product's available quantity changed.",
    "payment.succeeded": "A payment was made.",
    "payment.failed": "A payment was declined.",
    "payment.refunded": "A payment was refunded, in whole or in part.",
    "balance.updated": "A customer's or grower's balance changed.",
}
_EMAIL = {
    "email.accepted": "The mail provider accepted a message, and will try to deliver it.",
    "email.delivered": "A message was delivered to the recipient's mail server.",
    "email.bounced": "A message cannot be delivered, and is not tried again.",
    "email.delayed": "A message could not be delivered yet; it is tried again.",
    "email.opened": "A recipient opened a message.",
    "email.clicked": "A recipient followed a link in a message.",
    "email.complained": "A recipient reported a message as spam.",
    "email.unsubscribed": "A recipient unsubscribed.",
    "email.stored": "The mail provider stored an incoming message.",
}
_RELAYD = {
    "relayd.endpoint.failing": "Half or more of an endpoint's last attempts failed.",
    "relayd.endpoint.recovered": "An endpoint that was failing has recovered.",
    "relayd.endpoint.throttled": "An endpoint asked for a pause of more than ten minutes.",
    "relayd.subscription.held": "A receiver answered 410: its deliveries are held.",
    "relayd.delivery.exhausted": "Deliveries failed, and no attempt is left.",
    "relayd.input.rejected": "Producers handed over input that was rejected.",
    "relayd.reload.refused": "A reload was refused: it changed nothing.",
    "relayd.source.unavailable": "A source has waited for a minute.",
    "relayd.source.recovered": "A source that was unavailable has recovered.",
}
_DESCRIPTIONS = _MARKET | _EMAIL | _RELAYD

EMAIL_TYPES: tuple[str, ...] = tuple(_EMAIL)
"""The types of what an inbound webhook reports of e-mail."""

EVENT_TYPES: tuple[str, ...] = (*_MARKET, *EMAIL_TYPES)
"""The types of a market's events, those about its e-mail too."""

RELAYD_TYPES: tuple[str, ...] = tuple(_RELAYD)
"""The types of relayd's own events, which no producer may use."""


_COMPARED = 400


def description(event_type: str) -> str:
    """Return one line on what a type means. Raises KeyError for one that is not the catalogue's."""
    return _DESCRIPTIONS[event_type]


def sample(event_type: str) -> dict[str, JsonValue]:
    """Return the `data` of a sample event, the caller's own. Raises KeyError as `description`."""
    return deepcopy(SAMPLES[event_type])


def suggest(event_type: str, known: Iterable[str]) -> str | None:
    """Return the known type that is written most like this one, or None when none is near.

    Of many, those are compared that stand next to it in the alphabet: of 10,000 it would take 0.2 s.
    """
    names = sorted(known)
    if len(names) > _COMPARED:
        first = max(0, bisect(names, event_type) - _COMPARED // 2)
        names = names[first : first + _COMPARED]
    return _nearest(event_type, tuple(names))


# A producer that uses a wrong type does so with each event; comparing takes a millisecond.
@lru_cache(maxsize=256)
def _nearest(event_type: str, known: tuple[str, ...]) -> str | None:
    return next(iter(get_close_matches(event_type, known, n=1, cutoff=0.75)), None)
