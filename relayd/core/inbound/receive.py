"""Judges one request of a provider: verifies it first, then maps what it says to an event."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from relayd.core.event import EventDefaults, Rejection
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
    Headers,
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


_NO_TYPE: Final = Rejection(
    "invalid_type",
    "the provider's type cannot be a type of relayd's; name one for it under `types:`",
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
    draft = _draft(entry, scheme, request, token)
    return draft if isinstance(draft, Refused) else _judged(entry, draft, int(now))


@dataclass(frozen=True, slots=True)
class Draft:
    """What a verified request says. `parts` are an event's, as a producer's line has them.

    `lacking` says of each part that the request does not give, why.
    """

    of: ProviderEvent
    parts: dict[str, JsonValue] = field(repr=False)
    lacking: Mapping[str, Rejection] = field(default_factory=dict)
    headers: Headers = field(default=(), repr=False)
    livemode: bool | None = None

    @property
    def line(self) -> bytes:
        """What a producer would write to the socket, without the line break."""
        return encoded(stringify(self.parts))


def map_again(
    entry: Inbound, headers: RawHeaders, body: bytes, *, key: str, now: float
) -> Draft | Refused:
    """Return what a request says that was verified before, as the entry has it now.

    `key` is its `ProviderEvent.key`, which has the token that was the id of one without any.
    """
    _, _, given = key.partition(":")
    draft = _draft(entry, _SCHEMES[entry.provider], Request(headers, body, now), given)
    if isinstance(draft, Draft) and draft.of.id == given and "id" in draft.parts:
        # It may be the digest of what it stands for.
        draft.parts["id"] = event_id_of(entry, key)
    return draft


def event_id_of(entry: Inbound, key: str) -> str:
    """Return the id of an event of which only its `ProviderEvent.key` is known."""
    _, _, given = key.partition(":")
    if given.startswith(_DIGEST):
        return f"{entry.name}-{given.removeprefix(_DIGEST)}"
    return _event_id(entry, given)


def _event_id(entry: Inbound, provider_id: str) -> str:
    return provider_id if is_id(provider_id) else f"{entry.name}-{text_digest(provider_id)}"


def _draft(entry: Inbound, scheme: _Scheme, request: Request, token: str | None) -> Draft | Refused:
    kept, body = request.kept(*_named_headers(entry)), request.body
    try:
        mapped = scheme.read(entry, request)
    except NotMappableError as error:
        of = _provider_event(entry, error.provider_id, body, token)
        why = Rejection(error.code, error.reason)
        return Draft(of, {"id": _event_id(entry, of.id)}, {"type": why, "data": why}, kept)
    if mapped.livemode is False and not entry.allow_test_mode:
        return Refused(RefusalCode.TEST_MODE, _TEST_MODE)
    of = _provider_event(entry, mapped.id, body, token)
    lacking = dict(mapped.lacking)
    parts: dict[str, JsonValue] = {}
    if "id" not in lacking:
        parts["id"] = _event_id(entry, of.id)
    if mapped.types:
        kind = event_type(entry, scheme.types, mapped.types)
        if kind is None:
            lacking["type"] = _NO_TYPE
        else:
            parts["type"] = kind
    parts["created"] = int(request.now) if mapped.created is None else mapped.created
    parts["data"] = mapped.data
    if mapped.api_version is not None:
        parts["api_version"] = mapped.api_version
    return Draft(of, parts, lacking, kept, mapped.livemode)


def _judged(entry: Inbound, draft: Draft, now: int) -> Verified | Unmappable:
    for why in draft.lacking.values():
        return Unmappable(draft.of, why, draft.headers)
    line = draft.line
    event = event_from_line(line, EventDefaults(entry.market_id, "-"), new_id="-", now=now)
    if isinstance(event, Rejection):
        return Unmappable(draft.of, event, draft.headers)
    return Verified(draft.of, event.id, event.type, line, draft.headers, draft.livemode)


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
