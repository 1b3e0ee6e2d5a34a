"""A request as a provider would send it, for trying an entry: `receive` takes it for the provider's."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Final

from relayd.core.email_samples import EMAIL_SAMPLES
from relayd.core.inbound import hmac_scheme, mailgun, stripe
from relayd.core.inbound.entry import HmacScheme, Inbound, Place, Provider
from relayd.core.json_text import JsonValue, encoded, stringify
from relayd.core.secret import Secret
from relayd.core.signature import (
    STANDARD_ID,
    STANDARD_SIGNATURE,
    STANDARD_TIMESTAMP,
    sign_standard,
)

API_VERSION: Final = "2026-09-30.dahlia"
"""Of the sample events of Stripe's."""

_JSON: Final = ("content-type", "application/json")


@dataclass(frozen=True, slots=True)
class SampleRequest:
    """Its headers, with names in lower case, and its body."""

    headers: tuple[tuple[str, str], ...] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sample:
    """What happened: `kind` is the provider's type or relayd's, `thing` what it happened to.

    `created` is in Unix seconds. `thing` is None for one of ours.
    """

    kind: str
    id: str
    created: int
    thing: JsonValue = field(default=None, repr=False)


def sample_request(entry: Inbound, sample: Sample, *, now: int, token: str) -> SampleRequest:
    """Return a request with this event, signed at `now` (Unix seconds) with the entry's first secret.

    `token` is for Mailgun. An entry that takes test-mode events gets one of these.
    """
    secret = entry.secrets[0]
    kind = provider_type(entry, sample.kind)
    match entry.provider:
        case Provider.STRIPE:
            body = _text(_stripe_event(entry, kind, sample))
            signature = (stripe.SIGNATURE.lower(), stripe.sign(body, secret, now))
            return SampleRequest((_JSON, signature), body)
        case Provider.MAILGUN:
            event = _mailgun_event(entry, kind, sample)
            return SampleRequest((_JSON,), mailgun_body(event, secret, now=now, token=token))
        case Provider.STANDARD:
            moment = datetime.fromtimestamp(sample.created, UTC).isoformat()
            document: dict[str, JsonValue] = {
                "type": kind,
                "timestamp": moment,
                "data": _thing(sample),
            }
            body = _text(document)
            return SampleRequest((_JSON, *_standard_headers(body, sample.id, secret, now)), body)
        case Provider.HMAC:
            assert entry.scheme is not None
            return _hmac_request(entry.scheme, kind, sample, secret, now)


def mailgun_body(event: JsonValue, secret: Secret, *, now: int, token: str) -> bytes:
    """Return the body of an event webhook of Mailgun's with this `event-data`."""
    signature: dict[str, JsonValue] = {**mailgun.sign(token, secret, now)}
    return _text({"signature": signature, "event-data": event})


def provider_type(entry: Inbound, kind: str) -> str:
    """Return what the provider calls a type of relayd's; a type of its own as it is."""
    of_provider: Mapping[str, str] = {}
    if entry.provider is Provider.STRIPE:
        of_provider = stripe.TYPES
    elif entry.provider is Provider.MAILGUN:
        of_provider = mailgun.TYPES
    for mapping in (entry.types, of_provider):
        for theirs, ours in mapping.items():
            if ours == kind:
                return theirs
    return kind.removeprefix(entry.prefix)


def _stripe_event(entry: Inbound, kind: str, sample: Sample) -> dict[str, JsonValue]:
    name = kind.rpartition(".")[0] or kind
    thing: JsonValue = {
        "id": f"{name.rpartition('.')[2]}_sample",
        "object": name.rpartition(".")[2],
        "amount": 4250,
        "currency": "usd",
    }
    return {
        "id": sample.id,
        "object": "event",
        "api_version": API_VERSION,
        "created": sample.created,
        "data": {"object": thing if sample.thing is None else sample.thing},
        "livemode": not entry.allow_test_mode,
        "pending_webhooks": 1,
        "request": {"id": None, "idempotency_key": None},
        "type": kind,
    }


def _mailgun_event(entry: Inbound, kind: str, sample: Sample) -> dict[str, JsonValue]:
    event, _, severity = kind.partition(".")
    given = sample.thing
    if given is None:
        ours = entry.types.get(kind) or mailgun.TYPES.get(kind) or ""
        given = EMAIL_SAMPLES.get(ours, EMAIL_SAMPLES["email.delivered"])["object"]
    said = dict(given) if isinstance(given, dict) else {}
    said |= {"event": event, "id": sample.id, "timestamp": sample.created}
    if severity:
        said["severity"] = severity
    return said


def _hmac_request(
    scheme: HmacScheme, kind: str, sample: Sample, secret: Secret, now: int
) -> SampleRequest:
    headers = [_JSON]
    thing = _thing(sample)
    document: dict[str, JsonValue] = dict(thing) if isinstance(thing, dict) else {"value": thing}
    if scheme.id is not None:
        _put(scheme.id, sample.id, headers, document)
    if scheme.time is not None:
        _put(scheme.time, sample.created, headers, document)
    # A type of more places than it has words leaves the last ones empty.
    words = kind.split(".", len(scheme.type) - 1)
    for place, word in zip(scheme.type, words, strict=False):
        _put(place, word, headers, document)
    body = _text(document)
    if scheme.timestamp:
        headers.append((scheme.timestamp, str(now)))
    signature = hmac_scheme.sign(
        body, scheme, secret, timestamp=str(now) if scheme.timestamp else "", event_id=sample.id
    )
    return SampleRequest((*headers, (scheme.header, signature)), body)


def _put(
    place: Place, value: str | int, headers: list[tuple[str, str]], document: dict[str, JsonValue]
) -> None:
    if place.header:
        headers.append((place.header, str(value)))
        return
    *above, last = place.path.split(".")
    for part in above:
        below = document.get(part)
        if not isinstance(below, dict):
            below = document[part] = {}
        document = below
    document[last] = value


def _standard_headers(
    body: bytes, event_id: str, secret: Secret, now: int
) -> list[tuple[str, str]]:
    return [
        (STANDARD_ID, event_id),
        (STANDARD_TIMESTAMP, str(now)),
        (STANDARD_SIGNATURE, sign_standard(body, event_id, now, secret)),
    ]


def _thing(sample: Sample) -> JsonValue:
    return {"id": "sample_1"} if sample.thing is None else sample.thing


def _text(document: dict[str, JsonValue]) -> bytes:
    return encoded(stringify(document))
