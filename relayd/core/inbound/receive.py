"""Judges one request of a provider: verifies it first, then maps what it says to an event."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from relayd.core.event import Event, EventDefaults, Rejection
from relayd.core.event_fields import is_id
from relayd.core.event_input import event_from_line
from relayd.core.inbound import hmac_scheme, mailgun, standard, stripe
from relayd.core.inbound.entry import Inbound, Provider
from relayd.core.inbound.mapped import Mapped, type_under
from relayd.core.inbound.request import (
    NotMappableError,
    NotVerifiedError,
    RawHeaders,
    Request,
)
from relayd.core.inbound.verdict import (
    ProviderEvent,
    RefusalCode,
    Refused,
    Unmappable,
    Verdict,
    Verified,
    text_digest,
)
from relayd.core.json_text import JsonValue, encoded, stringify

_DIGEST: Final = "sha256:"

_TEST_MODE: Final = (
    "a test-mode event: this entry takes live ones alone. Its endpoint in Stripe's dashboard is one of"
    " test mode, or of Connect; allow_test_mode: true takes both"
)


@dataclass(frozen=True, slots=True)
class _Scheme:
    """How a provider's requests are verified, with the token that a signature is made of, and read."""

    verify: Callable[[Inbound, Request], str | None]
    read: Callable[[Inbound, Request], Mapped]
    types: Mapping[str, str] = field(default_factory=dict)


_SCHEMES: Final[Mapping[Provider, _Scheme]] = {
    Provider.STRIPE: _Scheme(stripe.verify, stripe.read, stripe.TYPES),
    Provider.MAILGUN: _Scheme(mailgun.verify, mailgun.read, mailgun.TYPES),
    Provider.STANDARD: _Scheme(standard.verify, standard.read),
    Provider.HMAC: _Scheme(hmac_scheme.verify, hmac_scheme.read),
}


def receive(entry: Inbound, headers: RawHeaders, body: bytes, *, now: float) -> Verdict:
    """Return what becomes of a request. `now` is in Unix seconds. Never raises, whatever the bytes.

    What `Verified` has, the daemon takes, unless its market has another event with the same id.
    Where the entry's `networks` do not admit the sender, or the body is too large, nobody asks.
    """
    scheme = _SCHEMES[entry.provider]
    request = Request(headers, body, now)
    try:
        token = scheme.verify(entry, request)
    except NotVerifiedError as refused:
        return Refused(refused.code, refused.reason)
    return _judged(entry, scheme, request, token)


def map_again(entry: Inbound, headers: RawHeaders, body: bytes, *, key: str, now: float) -> Verdict:
    """Return what becomes of a request that was verified before, as `receive` does.

    `key` is its `ProviderEvent.key`, which has the token that was the id of one without any.
    """
    _, _, given = key.partition(":")
    return _judged(entry, _SCHEMES[entry.provider], Request(headers, body, now), given)


def event_id_of(entry: Inbound, key: str) -> str:
    """Return the id of an event of which only its `ProviderEvent.key` is known."""
    _, _, given = key.partition(":")
    if given.startswith(_DIGEST):
        return f"{entry.name}-{given.removeprefix(_DIGEST)}"
    return given if is_id(given) else f"{entry.name}-{text_digest(given)}"


def _judged(entry: Inbound, scheme: _Scheme, request: Request, token: str | None) -> Verdict:
    kept, body, now = request.kept(*_named_headers(entry)), request.body, request.now
    try:
        mapped = scheme.read(entry, request)
    except NotMappableError as error:
        of = _provider_event(entry, error.provider_id, body, token)
        return Unmappable(of, Rejection(error.code, error.reason), kept)
    if mapped.livemode is False and not entry.allow_test_mode:
        return Refused(RefusalCode.TEST_MODE, _TEST_MODE)
    of = _provider_event(entry, mapped.id, body, token)
    event = _event(entry, scheme, mapped, of, int(now))
    if isinstance(event, Rejection):
        return Unmappable(of, event, kept)
    line, made = event
    return Verified(of, made.id, made.type, line, kept, mapped.livemode)


def _event(
    entry: Inbound, scheme: _Scheme, mapped: Mapped, of: ProviderEvent, now: int
) -> tuple[bytes, Event] | Rejection:
    """Return the line that a producer would write, and the event that it is; or why it is none."""
    kind = event_type(entry, scheme.types, mapped.types)
    if kind is None:
        return Rejection(
            "invalid_type",
            "the provider's type cannot be a type of relayd's; name one for it under `types:`",
        )
    parts: dict[str, JsonValue] = {
        "id": of.id if is_id(of.id) else f"{entry.name}-{text_digest(of.id)}",
        "type": kind,
        "created": now if mapped.created is None else mapped.created,
        "data": mapped.data,
    }
    if mapped.api_version is not None:
        parts["api_version"] = mapped.api_version
    line = encoded(stringify(parts))
    event = event_from_line(line, EventDefaults(entry.market_id, "-"), new_id="-", now=now)
    return event if isinstance(event, Rejection) else (line, event)


def event_type(
    entry: Inbound, of_provider: Mapping[str, str], names: tuple[str, ...]
) -> str | None:
    """Return the type of an event that its provider calls by these names, the most exact one first.

    The entry's own mapping comes before the provider's, and both before a name under the prefix.
    """
    for mapping in (entry.types, of_provider):
        for name in names:
            if name in mapping:
                return mapping[name]
    return type_under(entry.prefix, names[0])


def _provider_event(
    entry: Inbound, provider_id: str | None, body: bytes, token: str | None
) -> ProviderEvent:
    # Without an id, the same token is the same event, or else the same body is.
    given = provider_id or token or hashlib.sha256(body).hexdigest()
    return ProviderEvent(entry.events_of, given, token)


def _named_headers(entry: Inbound) -> tuple[str, ...]:
    if entry.provider is Provider.STANDARD:
        return tuple(f"{each}-{key}" for each in standard.PREFIXES for key in ("id", "timestamp"))
    if entry.scheme is None:
        return ()
    places = (entry.scheme.id, entry.scheme.time, *entry.scheme.type)
    return (entry.scheme.timestamp, *(each.header for each in places if each is not None))
