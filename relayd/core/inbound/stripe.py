"""Stripe: `Stripe-Signature`, and events of both kinds: snapshots, and thin ones.

The signature is `t=SECONDS,v1=HEX[,v1=HEX]`; the HMAC-SHA256 is over `SECONDS.BODY`. `v0` counts for
nothing. A thin event names the object that it is about, without its content.
"""

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
from relayd.core.inbound.mapped import Mapped, id_problem, json_object, seconds_of, text_of
from relayd.core.inbound.request import NotVerifiedError, Request
from relayd.core.inbound.verdict import RefusalCode
from relayd.core.json_text import JsonValue
from relayd.core.object_id import id_text
from relayd.core.secret import Secret

SIGNATURE: Final = "Stripe-Signature"

TYPES: Final = {
    "payment_intent.succeeded": "payment.succeeded",
    "payment_intent.payment_failed": "payment.failed",
    "charge.refunded": "payment.refunded",
}

_HEADER: Final = SIGNATURE.lower()
_SNAPSHOT: Final = ("account", "context", "livemode", "request")
_HINT: Final = "a live, a test and a CLI endpoint each have a signing secret of their own, which begins with whsec_"


def sign(body: bytes, secret: Secret, timestamp: int) -> str:
    """Return the value of `Stripe-Signature`. `timestamp` is in Unix seconds."""
    return f"t={timestamp},v1={_signature(body, secret, str(timestamp))}"


def verify(entry: Inbound, request: Request) -> None:
    """Raise `NotVerifiedError` unless Stripe made the signature, lately."""
    value = request.only(_HEADER)
    if value is None:
        raise NotVerifiedError(
            RefusalCode.NO_SIGNATURE,
            f"the request has no header {SIGNATURE}: it is not from Stripe",
        )
    items = [item.partition("=")[::2] for item in value.split(",")]
    times = [text for key, text in items if key == "t"]
    signatures = [text for key, text in items if key == "v1"]
    if len(times) != 1 or not signatures:
        raise NotVerifiedError(
            RefusalCode.WRONG_SIGNATURE, f"{SIGNATURE} does not have one `t` and a `v1`"
        )
    seconds = signed_seconds(times[0])
    expected = [_signature(request.body, secret, times[0]) for secret in entry.secrets]
    check_signature(expected, signatures, hint=_HINT)
    check_time(seconds, request.now, entry.tolerance_s)


def read(_: Inbound, request: Request) -> Mapped:
    """Return what the event says. Raises `NotMappableError`."""
    found = json_object(request.body)
    lacking: dict[str, Rejection] = {}
    why = id_problem(
        found.get("id"), missing="the body has no `id`: it is not an event of Stripe's"
    )
    if why is not None:
        lacking["id"] = why
    kind = text_of(found, "type")
    if kind is None:
        lacking["type"] = Rejection("missing_key", "the event has no `type`")
    livemode = found.get("livemode")
    return Mapped(
        id=id_text(found.get("id")) or "",
        types=() if kind is None else (kind,),
        created=seconds_of(found.get("created")),
        data=_thin(found) if _is_thin(found) else _snapshot(found),
        api_version=text_of(found, "api_version"),
        livemode=livemode if isinstance(livemode, bool) else None,
        lacking=lacking,
    )


def _is_thin(found: dict[str, JsonValue]) -> bool:
    data = found.get("data")
    return not (isinstance(data, dict) and "object" in data)


def _snapshot(found: dict[str, JsonValue]) -> dict[str, JsonValue]:
    data = found["data"]
    assert isinstance(data, dict)
    kept = {key: data[key] for key in ("object", "previous_attributes") if key in data}
    return kept | {key: found[key] for key in _SNAPSHOT if found.get(key) is not None}


def _thin(found: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Return the data of an event whose object is only named, or which is about none.

    `reason.request` is what a snapshot has as `request`. What such an event has under `data`, which
    is details of what happened, is kept as `details`.
    """
    related = found.get("related_object")
    data: dict[str, JsonValue] = {"object": related if isinstance(related, dict) else {}}
    changes, reason = found.get("changes"), found.get("reason")
    if isinstance(changes, dict) and changes.get("before") is not None:
        data["previous_attributes"] = changes["before"]
    data |= {key: found[key] for key in _SNAPSHOT if found.get(key) is not None}
    if isinstance(reason, dict) and reason.get("request") is not None:
        data["request"] = reason["request"]
    if found.get("data") is not None:
        data["details"] = found["data"]
    return data


def _signature(body: bytes, secret: Secret, timestamp: str) -> str:
    return written(mac(secret, (timestamp.encode(), b".", body)), "hex")
