"""Standard Webhooks: `webhook-id`, `webhook-timestamp` and `webhook-signature`, or the same of Svix.

Signatures are `v1,BASE64`, joined by spaces; the HMAC-SHA256 is over `ID.SECONDS.BODY`. `v1a`, which
is asymmetric, counts for nothing. The body is `{"type": …, "timestamp": …, "data": {…}}`.
"""

import base64
from typing import Final

from relayd.core.event import Rejection
from relayd.core.inbound.comparison import check_signature, check_time, signed_seconds
from relayd.core.inbound.entry import Inbound
from relayd.core.inbound.mapped import Mapped, id_problem, json_object, seconds_of, text_of
from relayd.core.inbound.request import NotMappableError, NotVerifiedError, Request
from relayd.core.inbound.verdict import RefusalCode
from relayd.core.json_text import JsonValue
from relayd.core.object_id import id_text

PREFIXES: Final = ("webhook", "svix")
"""The specification's names of its headers begin with the first, those from before it with the other."""


def verify(entry: Inbound, request: Request) -> None:
    """Raise `NotVerifiedError` unless one of the entry's secrets made the signature, lately."""
    prefix = _prefix(request)
    found = [request.only(f"{prefix}-{each}") for each in ("id", "timestamp", "signature")]
    event_id, timestamp, signatures = found
    if not event_id or timestamp is None or signatures is None:
        raise NotVerifiedError(
            RefusalCode.NO_SIGNATURE,
            "the request lacks one of the headers webhook-id, webhook-timestamp, webhook-signature",
        )
    seconds = signed_seconds(timestamp)
    signed = (event_id.encode("latin-1"), b".", timestamp.encode(), b".", request.body)
    expected = [
        "v1," + base64.b64encode(secret.standard_mac(*signed).digest()).decode()
        for secret in entry.secrets
        if secret.standard_key is not None
    ]
    check_signature(
        expected,
        signatures.split(" "),
        hint="the secret is the provider's, which begins with whsec_",
    )
    check_time(seconds, request.now, entry.tolerance_s)


def read(_: Inbound, request: Request) -> Mapped:
    """Return what the event says. Raises `NotMappableError`."""
    prefix = _prefix(request)
    given = request.first(f"{prefix}-id")
    event_id = id_text(given)
    try:
        found = json_object(request.body)
    except NotMappableError as error:
        raise NotMappableError(error.code, error.reason, event_id) from None
    lacking: dict[str, Rejection] = {}
    if (why := id_problem(given, missing=f"the request has no {prefix}-id")) is not None:
        lacking["id"] = why
    kind = text_of(found, "type")
    if kind is None:
        lacking["type"] = Rejection("missing_key", "the body has no `type`")
    created = seconds_of(found.get("timestamp"))
    if created is None:
        created = seconds_of(request.first(f"{prefix}-timestamp"))
    return Mapped(
        id=event_id or "",
        types=() if kind is None else (kind,),
        created=created,
        data=_data(found),
        lacking=lacking,
    )


def _data(found: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the body's `data` as the object, and what else the body has beside it."""
    if "data" not in found:
        return {"object": found}
    beside = {key: each for key, each in found.items() if key not in {"type", "timestamp", "data"}}
    return {"object": found["data"]} | ({"envelope": beside} if beside else {})


def _prefix(request: Request) -> str:
    return next((each for each in PREFIXES if request.first(f"{each}-signature")), PREFIXES[0])
