"""Any provider that signs with an HMAC: `HmacScheme` says how, and where it says what happened.

Nothing of the body is read before its signature is verified: what the signed content has beside the
body comes from headers.
"""

import re
from typing import Final

from relayd.core.conditions import parts_of, values_at
from relayd.core.event import Rejection
from relayd.core.inbound.comparison import (
    check_signature,
    check_time,
    mac,
    signed_seconds,
    written,
)
from relayd.core.inbound.entry import HmacScheme, Inbound, Place
from relayd.core.inbound.form import FORM_TYPES, content_type, form_object
from relayd.core.inbound.mapped import (
    LONGEST_TYPE,
    Mapped,
    id_problem,
    json_value,
    seconds_of,
)
from relayd.core.inbound.request import NotVerifiedError, Request
from relayd.core.inbound.verdict import RefusalCode
from relayd.core.json_text import JsonValue
from relayd.core.object_id import id_text
from relayd.core.secret import Secret

PLACEHOLDER: Final = re.compile(r"\{(body|timestamp|id|url)\}")
"""What stands in `HmacScheme.signed` for a part of the request."""

NO_TYPE: Final = "received"
"""The type, under the entry's name, where the scheme says none."""


def sign(body: bytes, scheme: HmacScheme, secret: Secret, *, timestamp: str, event_id: str) -> str:
    """Return the value of the scheme's header."""
    stand_for = {
        "body": body,
        "timestamp": timestamp.encode("latin-1"),
        "id": event_id.encode("latin-1"),
        "url": scheme.url.encode(),
    }
    # Texts and names of placeholders, in turn.
    pieces = PLACEHOLDER.split(scheme.signed)
    signed = [
        stand_for[piece] if position % 2 else piece.encode()
        for position, piece in enumerate(pieces)
    ]
    return scheme.prefix + written(mac(secret, signed, scheme.algorithm), scheme.encoding)


def verify(entry: Inbound, request: Request) -> None:
    """Raise `NotVerifiedError` unless one of the entry's secrets made the signature, lately."""
    scheme = _scheme(entry)
    given = request.only(scheme.header)
    if not given:
        raise NotVerifiedError(
            RefusalCode.NO_SIGNATURE, f"the request has no header {scheme.header}"
        )
    timestamp = _signed_header(request, scheme.timestamp)
    event_id = ""
    if "{id}" in scheme.signed and scheme.id is not None:
        event_id = _signed_header(request, scheme.id.header)
    seconds = signed_seconds(timestamp) if scheme.timestamp else None
    expected = [
        sign(request.body, scheme, secret, timestamp=timestamp, event_id=event_id)
        for secret in entry.secrets
    ]
    check_signature(
        expected, [given], hint="compare the secret, and what is signed, with the provider's pages"
    )
    if seconds is not None:
        check_time(seconds, request.now, entry.tolerance_s)


def read(entry: Inbound, request: Request) -> Mapped:
    """Return what the event says. Raises `NotMappableError`."""
    scheme = _scheme(entry)
    body = _body(request)
    lacking: dict[str, Rejection] = {}
    found_id = _at(scheme.id, request, body)
    if scheme.id is not None:
        missing = f"the request has no id at {shown(scheme.id)}"
        if (why := id_problem(found_id, missing=missing)) is not None:
            lacking["id"] = why
    words = [text for place in scheme.type if (text := _word(_at(place, request, body)))]
    if scheme.type and not words:
        lacking["type"] = Rejection(
            "missing_key", f"the request has no type at {shown(scheme.type[0])}"
        )
    created = seconds_of(_at(scheme.time, request, body))
    if created is None and scheme.timestamp:
        created = seconds_of(request.first(scheme.timestamp))
    return Mapped(
        id=id_text(found_id) or "",
        types=tuple(".".join(words[:count]) for count in range(len(words), 0, -1))
        or (() if scheme.type else (NO_TYPE,)),
        created=created,
        data={"object": body},
        lacking=lacking,
    )


def shown(place: Place) -> str:
    """Return a place in words."""
    return f"header {place.header}" if place.header else place.path


def _word(value: object) -> str | None:
    # Of a long text the beginning is looked at: that it is no type is then said, and not that there is none.
    return id_text(value[:LONGEST_TYPE] if isinstance(value, str) else value)


def _scheme(entry: Inbound) -> HmacScheme:
    assert entry.scheme is not None, "an entry of hmac has a scheme"
    return entry.scheme


def _signed_header(request: Request, name: str) -> str:
    if not name:
        return ""
    value = request.only(name)
    if not value:
        raise NotVerifiedError(
            RefusalCode.NO_SIGNATURE, f"the request has no header {name}, which is signed"
        )
    return value


def _body(request: Request) -> JsonValue:
    if content_type(request) in FORM_TYPES:
        return form_object(request).fields
    return json_value(request.body)


def _at(place: Place | None, request: Request, body: JsonValue) -> object:
    if place is None:
        return None
    if place.header:
        return request.first(place.header)
    if not isinstance(body, dict):
        return None
    return next(iter(values_at(parts_of(place.path), body)), None)
