"""The JSON Schemas of the documents about events and deliveries."""

from collections.abc import Mapping
from typing import Final

from relayd.web.api.schema_parts import (
    CAUSE,
    COUNT,
    FAILURE,
    HOLD,
    NUMBER,
    STATE,
    SUBJECT,
    TEXT,
    WORDS,
    YES_OR_NO,
    Schema,
    by_name,
    document,
    list_of,
    moment,
    or_null,
    ref,
)

_HELD: Final = by_name(TEXT, "Why subscriptions are held, by name.")
_REFUSED: Final = list_of(ref("Untouched"))

_DELIVERY: Final[Mapping[str, Schema]] = {
    "id": TEXT,
    "event_id": TEXT,
    "event_type": TEXT,
    "market_id": TEXT,
    "object_id": or_null(TEXT),
    "sequence": {"type": "integer"},
    "subscription": TEXT,
    "state": STATE,
    "hold": HOLD,
    "attempts": COUNT,
    **moment("accepted_at", "When its event was accepted.", never_null=True),
    **moment("changed_at", "When its state changed last."),
    **moment("due_at", "When its next attempt may start."),
    **moment("ended_at", "When it ended."),
    **moment("last_attempt_at", "When its last attempt started."),
    "last_status": or_null({"type": "integer"}),
    "last_failure": FAILURE,
    "last_cause": CAUSE,
    "order_key": {"type": ["string", "number", "null"], "description": "Its value of order_by."},
    "behind": or_null({**TEXT, "description": "The delivery before it in its order."}),
    "behind_first": or_null({**TEXT, "description": "The first one in its order."}),
    "in_flight": {"type": ["boolean", "null"], "description": "null where nobody could say."},
    "in_flight_at": or_null({**TEXT, "description": "The endpoint, without the URL's path."}),
    "in_flight_at_old_url": {"type": ["boolean", "null"]},
}

DELIVERY_SCHEMAS: Final[Mapping[str, Schema]] = {
    "Delivery": document("One event on its way to one subscription.", _DELIVERY),
    "DeliveryPage": document(
        "Deliveries, newest first.",
        {
            "deliveries": list_of(ref("Delivery")),
            "older_before": or_null({**TEXT, "description": "`before` of the next page."}),
        },
    ),
    "Attempt": document(
        "One request made for a delivery.",
        {
            "number": {"type": "integer", "minimum": 1},
            **moment("started_at", "When it started.", never_null=True),
            "duration_ms": NUMBER,
            "status": or_null({"type": "integer"}),
            "failure": FAILURE,
            "cause": CAUSE,
            "subject": SUBJECT,
            "detail": or_null(TEXT),
            "answer": {**TEXT, "description": "The beginning of the response's body."},
            "extra": or_null({**TEXT, "description": "Why it was made beside the schedule."}),
        },
    ),
    "DeliveryWithHistory": document(
        "A delivery with its attempts.", {**_DELIVERY, "history": list_of(ref("Attempt"))}
    ),
    "Event": document(
        "An event, its deliveries and their attempts.",
        {
            "id": TEXT,
            "type": TEXT,
            "market_id": TEXT,
            "object_id": or_null(TEXT),
            "sequence": {"type": "integer"},
            **moment("created_at", "When it happened.", never_null=True),
            **moment("accepted_at", "When relayd accepted it.", never_null=True),
            "source": TEXT,
            "body": or_null({**TEXT, "description": "The bytes that are sent, as text."}),
            "unfaithful": {
                **WORDS,
                "description": "Fields that not every receiver carries unchanged.",
            },
            "webhook": ref("Webhook"),
            "deliveries": list_of(ref("DeliveryWithHistory")),
        },
        "webhook",
    ),
    "Webhook": document(
        "What an inbound event was made of.",
        {
            "key": {**TEXT, "description": "What decides whether it came before."},
            "headers": {"type": ["object", "null"]},
            "raw_bytes": COUNT,
            "raw_sha256": TEXT,
            "raw_kept": YES_OR_NO,
        },
    ),
    "Untouched": document(
        "A delivery that was left as it is.",
        {
            "id": TEXT,
            "subscription": TEXT,
            "state": STATE,
            "hold": HOLD,
            "instead": or_null({**TEXT, "description": "The command that does what was meant."}),
        },
    ),
    "Retried": document(
        "What a retry did.",
        {
            "matched": COUNT,
            "changed": COUNT,
            "to_retry": by_name(COUNT, "Deliveries by subscription."),
            "held": _HELD,
            "lifted": {**WORDS, "description": "Subscriptions that were held back until now."},
            "behind": by_name(COUNT, "Those that wait in an order, by subscription."),
            "refused": _REFUSED,
        },
    ),
    "Replayed": document(
        "What a replay did.",
        {
            "matched": COUNT,
            "changed": COUNT,
            "to_replay": by_name(COUNT, "Deliveries by subscription."),
            "to_make": by_name(COUNT, "Deliveries of a backfill by subscription."),
            "held": _HELD,
            "refused": _REFUSED,
        },
    ),
    "Cancelled": document(
        "What a cancellation did.",
        {
            "matched": COUNT,
            "changed": COUNT,
            "in_flight": {**COUNT, "description": "These are delivered if their attempts succeed."},
            "to_cancel": by_name(COUNT, "Deliveries by subscription."),
            "refused": _REFUSED,
        },
    ),
}
