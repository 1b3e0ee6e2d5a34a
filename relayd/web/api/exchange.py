"""The operations that hand events over and out, and the probes: what is to be said of each."""

from typing import Final

from relayd.core.event import MAX_INPUT_BYTES
from relayd.core.exposition import OPENMETRICS_TYPE, TEXT_TYPE
from relayd.web.api.answers import TO_LOOK, answered
from relayd.web.api.paths import PATTERN
from relayd.web.api.schema_parts import ref
from relayd.web.events_in import KEY_PATTERN, MOST_BYTES, MOST_EVENTS, NDJSON, EventsIn
from relayd.web.feed import Feed
from relayd.web.feed_request import LIMIT, MOST_TYPES, MOST_WAIT_S
from relayd.web.feed_request import MOST_EVENTS as MOST_FED
from relayd.web.health import Health
from relayd.web.metrics import Metrics
from relayd.web.operation import JSON, Content, Operation, Parameter

CURSOR_PATTERN: Final = r"^[0-9a-z]{1,32}\.[0-9]{1,16}\.[0-9]{1,16}$"

FEED_QUERY: Final = (
    Parameter(
        "after", "The `next` of the page before.", {"type": "string", "pattern": CURSOR_PATTERN}
    ),
    Parameter(
        "limit",
        "How many events at most.",
        {"type": "integer", "minimum": 1, "maximum": MOST_FED, "default": LIMIT},
    ),
    Parameter("type", f"Only of these event types, up to {MOST_TYPES}.", PATTERN, many=True),
    Parameter(
        "wait",
        "Seconds to wait for the first new event, if there is none now.",
        {"type": "integer", "minimum": 0, "maximum": MOST_WAIT_S, "default": 0},
    ),
)


def event_operations(events: EventsIn, feed: Feed) -> list[Operation]:
    """Return the operations of `/v1/events`."""
    return [
        Operation(
            "POST",
            "/v1/events",
            events.post,
            "postEvents",
            "Hand events over",
            f"One event of up to {MAX_INPUT_BYTES:,} bytes; or as NDJSON up to {MOST_EVENTS:,}, a line"
            f" each, {MOST_BYTES:,} bytes in all, with a result for each line. For a token of"
            " `http.producers`, and `http.token`.",
            {
                200: Content("NDJSON: what became of each line.", {NDJSON: {"type": "string"}}),
                202: answered("It is durable.", "Accepted"),
            },
            {
                **TO_LOOK,
                400: "The body ended too early, or `Idempotency-Key` was sent with many events.",
                409: "The id was accepted before, with other content.",
                413: "Larger than an event may be.",
                422: "Not an event; `detail` says why.",
                500: "A defect of relayd; its log has the traceback.",
            },
            parameters=(
                Parameter(
                    "Idempotency-Key",
                    "The event's id, for one event.",
                    {"type": "string", "pattern": KEY_PATTERN},
                    "header",
                ),
            ),
            body=Content(
                "The event, or events.",
                {JSON: ref("GivenEvent"), NDJSON: {"type": "string"}},
                example={"type": "order.created", "data": {"object": {"id": "order_456"}}},
            ),
            public=True,
        ),
        Operation(
            "GET",
            "/v1/events",
            feed,
            "getFeed",
            "The feed",
            "Kept events that the subscription of the `feed_token` wants, oldest first. For a"
            " `feed_token`, and `http.token`.",
            {200: answered("A page.", "FeedPage")},
            {**TO_LOOK, 410: "Events after this cursor are gone; go on with `oldest`."},
            parameters=FEED_QUERY,
            public=True,
        ),
    ]


def probe_operations(health: Health, metrics: Metrics) -> list[Operation]:
    """Return the operations that a monitor asks for."""
    probes = [
        Operation(
            "GET",
            path,
            health.answer,
            name,
            "Whether relayd can do its work",
            "For probes; without a token it has no reasons.",
            {
                200: answered("It can.", "Health"),
                503: answered("It cannot.", "Health"),
            },
            {},
            open_to_all=True,
        )
        for path, name in (("/healthz", "getHealth"), ("/readyz", "getReadiness"))
    ]
    return [
        *probes,
        Operation(
            "GET",
            "/metrics",
            metrics.answer,
            "getMetrics",
            "Metrics",
            "In Prometheus's text format, or OpenMetrics by `Accept`.",
            {
                200: Content(
                    "The metrics.",
                    {
                        TEXT_TYPE.partition(";")[0]: {"type": "string"},
                        OPENMETRICS_TYPE.partition(";")[0]: {"type": "string"},
                    },
                )
            },
            {status: says for status, says in TO_LOOK.items() if status in {401, 403, 421}},
        ),
    ]
