"""The JSON Schemas of the documents that the web process answers, by their names in the OpenAPI document.

Documents may get more keys: a program leaves alone those that it does not know.
"""

from collections.abc import Mapping
from typing import Final

from relayd.core.event_fields import MAX_CREATED
from relayd.web.api.delivery_schemas import DELIVERY_SCHEMAS
from relayd.web.api.schema_parts import TEXT, WORDS, YES_OR_NO, Schema, document, list_of
from relayd.web.api.subscription_schemas import SUBSCRIPTION_SCHEMAS

_LABEL: Final[Schema] = {
    "type": ["string", "null"],
    "pattern": r"^[^\x00-\x1f\x7f-\x9f]{1,256}$",
}

SCHEMAS: Final[Mapping[str, Schema]] = {
    **DELIVERY_SCHEMAS,
    **SUBSCRIPTION_SCHEMAS,
    "GivenEvent": {
        **document(
            "An event as a producer hands it over.",
            {
                "type": {
                    "type": "string",
                    "pattern": r"^(?!relayd\.)[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$",
                    "maxLength": 128,
                },
                "data": {"type": "object"},
                "id": {"type": ["string", "null"], "pattern": "^[A-Za-z0-9_:-]{1,128}$"},
                "created": {"type": ["integer", "null"], "minimum": 0, "maximum": MAX_CREATED},
                "market_id": _LABEL,
                "api_version": _LABEL,
            },
            *("id", "created", "market_id", "api_version"),
        ),
        "additionalProperties": False,
    },
    "Accepted": document(
        "An event is durable.",
        {"id": TEXT, "duplicate": {**YES_OR_NO, "description": "It was accepted before."}},
        "duplicate",
    ),
    "FeedPage": document(
        "Kept events, oldest first.",
        {
            "events": list_of({"type": "object"}),
            "next": {**TEXT, "description": "`after` of the next request."},
            "more": YES_OR_NO,
        },
    ),
    "Health": document(
        "Whether relayd can do its work.",
        {"ok": YES_OR_NO, "reasons": {**WORDS, "description": "For those who may look."}},
        "reasons",
    ),
    "Problem": document(
        "Why a request was not done (RFC 9457).",
        {
            "type": TEXT,
            "title": TEXT,
            "status": {"type": "integer"},
            "code": {**TEXT, "description": "For programs."},
            "detail": {**TEXT, "description": "For people."},
            "problems": {**WORDS, "description": "Each thing that is wrong."},
            "details": {
                **list_of({"type": "object"}),
                "description": "Each thing that is wrong, with its `key`.",
            },
        },
        "problems",
        "details",
    ),
}
