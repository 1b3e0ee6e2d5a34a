"""Mailgun: a signature inside the body, over its time and token; event webhooks and forms.

Event webhooks are JSON, `{"signature": {…}, "event-data": {…}}`. Routes and the legacy webhooks send
forms with the same three fields. The HMAC-SHA256 is over `TIMESTAMP` and `TOKEN`, and so not over the
event: a token counts for the event that it came with, which whoever keeps the events sees to.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from relayd.core.event import Rejection
from relayd.core.inbound.comparison import (
    check_signature,
    check_time,
    mac,
    signed_seconds,
    written,
)
from relayd.core.inbound.entry import Inbound
from relayd.core.inbound.form import FORM_TYPES, content_type, form_object, named_fields
from relayd.core.inbound.mapped import Mapped, json_object, seconds_of, text_of
from relayd.core.inbound.request import NotMappableError, NotVerifiedError, Request
from relayd.core.inbound.verdict import RefusalCode
from relayd.core.js_json import measured, too_large
from relayd.core.json_text import JsonValue
from relayd.core.object_id import id_text
from relayd.core.secret import Secret

MOST_BYTES: Final = 512 * 1024
"""Of a JSON body, which is read before its signature is known. Mailgun's have some kilobytes."""
MOST_DEPTH: Final = 32
MOST_VALUES: Final = 20_000
"""Commas and brackets of such a body, by which the time that it takes to read is bounded."""

TYPES: Final = {
    "accepted": "email.accepted",
    "delivered": "email.delivered",
    "failed.permanent": "email.bounced",
    "failed.temporary": "email.delayed",
    "opened": "email.opened",
    "clicked": "email.clicked",
    "complained": "email.complained",
    "unsubscribed": "email.unsubscribed",
    "stored": "email.stored",
    # The legacy webhooks' names.
    "bounced": "email.bounced",
    "dropped": "email.bounced",
}

RECEIVED: Final = "received"
"""The type of a form that names no event: a route forwards a message."""

_TOKEN: Final = re.compile(r"[!-~]{1,256}")
_SIGNED_FIELDS: Final = ("timestamp", "token", "signature", "parent-signature")
_SIGNING: Final = frozenset({"signature", "parent-signature", "token"})
_HINT: Final = "the secret is the account's HTTP webhook signing key, not an API key"


@dataclass(frozen=True, slots=True)
class _Signed:
    timestamp: str
    token: str = field(repr=False)
    signatures: list[str] = field(repr=False)


def sign(token: str, secret: Secret, timestamp: int) -> dict[str, str]:
    """Return the three fields that sign a body. `timestamp` is in Unix seconds."""
    said = str(timestamp)
    return {"timestamp": said, "token": token, "signature": _signature(said, token, secret)}


def verify(entry: Inbound, request: Request) -> str:
    """Return the token. Raises `NotVerifiedError` unless Mailgun made the signature, lately enough."""
    signed = _signed(request)
    seconds = signed_seconds(signed.timestamp)
    expected = [_signature(signed.timestamp, signed.token, secret) for secret in entry.secrets]
    check_signature(expected, signed.signatures, hint=_HINT)
    check_time(seconds, request.now, entry.tolerance_s)
    return signed.token


def read(_: Inbound, request: Request) -> Mapped:
    """Return what the event says. Raises `NotMappableError`."""
    if content_type(request) in FORM_TYPES:
        return _read_form(request)
    found = json_object(request.body).get("event-data")
    if not isinstance(found, dict):
        raise NotMappableError("missing_key", "the body has no `event-data`")
    kind = text_of(found, "event")
    why = Rejection("missing_key", "`event-data` has no `event`")
    return Mapped(
        id=id_text(found.get("id")) or "",  # without one, the token is the id
        types=() if kind is None else _types(kind, found),
        created=seconds_of(found.get("timestamp")),
        data={"object": found},
        lacking={"type": why} if kind is None else {},
    )


def _read_form(request: Request) -> Mapped:
    form = form_object(request)
    kind = text_of(form.fields, "event")
    if kind is None:
        # With store(), a message stays at Mailgun, and the form says where.
        kind = "stored" if "message-url" in form.fields else RECEIVED
    data: dict[str, JsonValue] = {
        "object": {key: each for key, each in form.fields.items() if key not in _SIGNING}
    }
    if form.files:
        data["attachments"] = form.files
    # No field is an id. The token is the same when Mailgun tries again.
    return Mapped(
        id="",
        types=_types(kind, form.fields),
        created=seconds_of(form.fields.get("timestamp")),
        data=data,
    )


def _types(kind: str, found: Mapping[str, JsonValue]) -> tuple[str, ...]:
    severity = text_of(found, "severity")
    return (f"{kind}.{severity}", kind) if severity else (kind,)


def _signed(request: Request) -> _Signed:
    try:
        if content_type(request) in FORM_TYPES:
            found: Mapping[str, object] = named_fields(request, _SIGNED_FIELDS)
        else:
            found = _signature_object(request.body)
    except NotMappableError as error:
        raise NotVerifiedError(RefusalCode.UNREADABLE, error.reason) from None
    timestamp, token = found.get("timestamp"), found.get("token")
    given = [found.get("signature"), found.get("parent-signature")]
    signatures = [each for each in given if isinstance(each, str)]
    if not (isinstance(timestamp, str) and isinstance(token, str) and signatures):
        raise NotVerifiedError(
            RefusalCode.NO_SIGNATURE,
            "the body lacks one of timestamp, token and signature: it is not from Mailgun",
        )
    if not _TOKEN.fullmatch(token):
        raise NotVerifiedError(RefusalCode.WRONG_SIGNATURE, "the token is not one of Mailgun's")
    return _Signed(timestamp, token, signatures)


def _signature_object(body: bytes) -> Mapping[str, object]:
    """Return what is under `signature` of a body that nobody vouches for yet."""
    many = sum(map(body.count, (b",", b"[", b"{"))) > MOST_VALUES
    large = many or len(body) > MOST_BYTES
    problem = too_large(MOST_BYTES) if large else measured(body, MOST_DEPTH, None)
    if problem is not None:
        raise NotMappableError(problem.code, f"the body cannot be read: {problem.reason}")
    try:
        # A number is its text: one of thousands of digits takes long to be more.
        found = json.loads(body.decode(), parse_int=str, parse_float=str)
    except (ValueError, RecursionError):
        raise NotMappableError("invalid_json", "the body is neither JSON nor a form") from None
    signature = found.get("signature") if isinstance(found, dict) else None
    return signature if isinstance(signature, dict) else {}


def _signature(timestamp: str, token: str, secret: Secret) -> str:
    return written(mac(secret, (timestamp.encode(), token.encode())), "hex")
