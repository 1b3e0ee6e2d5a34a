"""The JSON Schemas of the documents about subscriptions."""

from collections.abc import Mapping
from typing import Final

from relayd.web.api.schema_parts import (
    COUNT,
    FAILURE,
    HOLD,
    NUMBER,
    TEXT,
    WORDS,
    YES_OR_NO,
    Schema,
    document,
    list_of,
    moment,
    or_null,
    ref,
)

SUBSCRIPTION_SCHEMAS: Final[Mapping[str, Schema]] = {
    "SubscriptionStatus": document(
        "How a subscription stands.",
        {
            "name": TEXT,
            "hold": HOLD,
            "waiting": {**COUNT, "description": "Deliveries that have not ended."},
            "exhausted": COUNT,
            "behind": COUNT,
            "blocking": COUNT,
            **moment("oldest_waiting_at", "When the event of the oldest was accepted."),
            **moment("next_attempt_at", "When the next attempt may start."),
        },
    ),
    "Subscription": document(
        "A subscription in force, as it is interpreted, without what may be secret.",
        {
            "name": TEXT,
            "url": {**TEXT, "description": "Without path and query."},
            "url_from": TEXT,
            "events": WORDS,
            "where": {"type": "object"},
            "order_by": or_null(TEXT),
            "on_exhausted": {"enum": ["skip", "hold", None]},
            "longest_block_s": or_null(NUMBER),
            "active": YES_OR_NO,
            "format": or_null(TEXT),
            "template": or_null(TEXT),
            "secret_from": or_null(TEXT),
            "previous_secret_from": or_null(TEXT),
            "signature": {"type": ["string", "object", "null"]},
            "headers": {**WORDS, "description": "Their names."},
            "timeout_s": NUMBER,
            "rate_limit": TEXT,
            "max_in_flight": {"type": "integer"},
            "tls": or_null({"type": "object"}),
            "ip": {"enum": [4, 6, None]},
            "retry_s": list_of(NUMBER),
            "attempts": {"type": "integer"},
            "file": TEXT,
            "line": or_null({"type": "integer"}),
            "status": or_null(ref("SubscriptionStatus")),
        },
    ),
    "Subscriptions": document(
        "The subscriptions in force, and what is left of others.",
        {
            "subscriptions": list_of(ref("Subscription")),
            "removed": {
                **list_of(ref("SubscriptionStatus")),
                "description": "Those that the configuration no longer has.",
            },
        },
    ),
    "SubscriptionAdded": document(
        "What a PUT did.",
        {
            "subscription": TEXT,
            "file": TEXT,
            "in_force": YES_OR_NO,
            "secret": or_null({**TEXT, "description": "The one that was made; shown only now."}),
            "changes": {**WORDS, "description": "All that the reload changed."},
            "warnings": WORDS,
        },
    ),
    "SubscriptionRemoved": document(
        "What a DELETE did.",
        {
            "subscription": TEXT,
            "file": TEXT,
            "in_force": YES_OR_NO,
            "held": {**COUNT, "description": "Deliveries that are held from now on."},
            "changes": WORDS,
            "warnings": WORDS,
        },
    ),
    "Held": document(
        "What pause or resume did.",
        {
            "name": TEXT,
            "changed": YES_OR_NO,
            "hold": HOLD,
            "released": {**COUNT, "description": "Retries that are attempted now."},
            "lifted": {**YES_OR_NO, "description": "Whether a 429 or 503 held its endpoint back."},
        },
        "released",
        "lifted",
    ),
    "Tested": document(
        "What came back from a sample event.",
        {
            "event_id": TEXT,
            "event_type": TEXT,
            "delivery_id": TEXT,
            "subscription": TEXT,
            "url": TEXT,
            "succeeded": YES_OR_NO,
            "status": or_null({"type": "integer"}),
            "failure": FAILURE,
            "detail": or_null(TEXT),
            "duration_ms": NUMBER,
            "answer": TEXT,
            "released": COUNT,
            "waiting": COUNT,
            "hold": HOLD,
            "held_until": {"type": ["number", "null"], "description": "In Unix seconds."},
            "in_force": {
                "type": ["object", "null"],
                "description": "Whether what is on disk is what was tested.",
            },
        },
    ),
}
