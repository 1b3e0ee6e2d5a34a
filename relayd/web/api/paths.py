"""The operations for programs: each with its path, what answers it, and what is to be said of it."""

from collections.abc import Sequence
from typing import Final

from relayd.config.moments import MOMENT_PATTERN
from relayd.core.delivery import State
from relayd.core.object_id import LONGEST
from relayd.web.api.answers import EVENT_ID, ID, NAME, NOT_FOUND, TO_ACT, TO_LOOK, answered
from relayd.web.api.deliveries import (
    LIMIT,
    MOST,
    MOST_CHARACTERS,
    MOST_REPEATED,
    RESENT,
    Deliveries,
)
from relayd.web.api.events import Events
from relayd.web.api.schema_parts import ref
from relayd.web.api.service import Service
from relayd.web.api.subscriptions import Subscriptions
from relayd.web.body import Bodies
from relayd.web.operation import JSON, Content, Operation, Parameter

PATTERN: Final = {
    "type": "string",
    "pattern": r"^(\*|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*(\.\*)?)$",
}
"""Of event types: see `core.patterns`."""
TYPE: Final = {
    "type": "string",
    "pattern": r"^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$",
    "maxLength": 128,
}
_TIME: Final = {
    "type": "string",
    "pattern": MOMENT_PATTERN,
    "examples": ["2h", "2026-01-31T14:00:00Z"],
}

DELIVERY_FILTER: Final = (
    Parameter("subscription", "Only of these.", {"type": "string"}, many=True),
    Parameter("state", "Only in these.", {"enum": list(map(str, State))}, many=True),
    Parameter("type", "Only of these event types.", PATTERN, many=True),
    Parameter("since", "Accepted since then: an age, or a time.", _TIME),
    Parameter("until", "Accepted before.", _TIME),
    Parameter(
        "object",
        "Only of events about this object: `data.object.id`.",
        {"type": "string", "minLength": 1, "maxLength": LONGEST},
    ),
    Parameter(
        "limit",
        "How many at most.",
        {"type": "integer", "minimum": 1, "maximum": MOST, "default": LIMIT},
    ),
    Parameter(
        "before",
        "Only those that were created before this delivery.",
        {"type": "string", "minLength": 1, "maxLength": MOST_CHARACTERS},
    ),
)


def api_operations(service: Service, bodies: Bodies) -> list[Operation]:
    """Return the operations on events, deliveries and subscriptions."""
    events = Events(service)
    return [
        Operation(
            "GET",
            "/v1/events/{id}",
            service.looks(events.show_one),
            "getEvent",
            "One event",
            "Its body, its deliveries and their attempts, as `relayd show ID --json`.",
            {200: answered("The event.", "Event")},
            {**TO_LOOK, **NOT_FOUND, 409: "Several markets used the id: see `markets`."},
            parameters=(
                EVENT_ID,
                Parameter(
                    "market",
                    "The event's market, where several used the id.",
                    {"type": "string", "minLength": 1, "maxLength": MOST_CHARACTERS},
                ),
            ),
        ),
        *_delivery_operations(service, Deliveries(service)),
        *_subscription_operations(service, Subscriptions(service, bodies)),
    ]


def _delivery_operations(service: Service, deliveries: Deliveries) -> Sequence[Operation]:
    return [
        Operation(
            "GET",
            "/v1/deliveries",
            service.looks(deliveries.show_page),
            "listDeliveries",
            "Deliveries, newest first",
            "As `relayd deliveries --json`. The next page has the same query, and `older_before` as"
            f" `before`. A parameter may be repeated {MOST_REPEATED} times.",
            {200: answered("A page.", "DeliveryPage")},
            {**TO_LOOK, 404: "There is no such subscription, or no such delivery for `before`."},
            parameters=DELIVERY_FILTER,
        ),
        Operation(
            "GET",
            "/v1/deliveries/{id}",
            service.looks(deliveries.show_one),
            "getDelivery",
            "One delivery",
            "The event, with this delivery alone, as `relayd show ID --json`.",
            {200: answered("The event with the delivery.", "Event")},
            {**TO_LOOK, **NOT_FOUND},
            parameters=(ID,),
        ),
        Operation(
            "POST",
            "/v1/deliveries/{id}/retry",
            service.acts(deliveries.retry),
            "retryDelivery",
            "Attempt a delivery now",
            "One that has not ended: its schedule stays as it was. As `relayd retry ID --json`.",
            {200: answered("It was released.", "Retried")},
            TO_ACT,
            parameters=(ID,),
        ),
        Operation(
            "POST",
            "/v1/deliveries/{id}/replay",
            service.acts(deliveries.replay),
            "replayDelivery",
            "Send a delivery again",
            "One that is exhausted or cancelled, with its whole schedule; or with `state=delivered`"
            " one that was delivered. As `relayd replay ID --json`.",
            {200: answered("It is pending again.", "Replayed")},
            TO_ACT,
            parameters=(
                ID,
                Parameter(
                    "state", "Only in these states.", {"enum": list(map(str, RESENT))}, many=True
                ),
            ),
        ),
        Operation(
            "POST",
            "/v1/deliveries/{id}/cancel",
            service.acts(deliveries.cancel),
            "cancelDelivery",
            "Give a delivery up",
            "One that has not ended. As `relayd cancel ID --json`.",
            {200: answered("It is cancelled.", "Cancelled")},
            TO_ACT,
            parameters=(ID,),
        ),
    ]


def _subscription_operations(service: Service, subscriptions: Subscriptions) -> Sequence[Operation]:
    one = "/v1/subscriptions/{name}"
    return [
        Operation(
            "GET",
            "/v1/subscriptions",
            service.looks(subscriptions.show_all),
            "listSubscriptions",
            "The subscriptions in force",
            "As `relayd check --json` interprets them, and how they stand, as `relayd status --json`.",
            {200: answered("All of them.", "Subscriptions")},
            TO_LOOK,
        ),
        Operation(
            "GET",
            one,
            service.looks(subscriptions.show_one),
            "getSubscription",
            "One subscription",
            "One of the list.",
            {200: answered("The subscription.", "Subscription")},
            {**TO_LOOK, **NOT_FOUND},
            parameters=(NAME,),
        ),
        Operation(
            "PUT",
            one,
            service.acts(subscriptions.put),
            "putSubscription",
            "Add a subscription, or replace it",
            "As `relayd add`: a file where `include:` says, then a reload. One that `relayd add` or a"
            " PUT wrote is replaced: keys that are not given are removed, but for `secret`. Without a"
            " secret one is made.",
            {
                200: answered("It was replaced, and is in force.", "SubscriptionAdded"),
                201: answered(
                    "It was added, and is in force.",
                    "SubscriptionAdded",
                    {"Location": "Its path."},
                ),
            },
            {
                **TO_ACT,
                412: "There is one of this name, and `If-None-Match: *` was sent; or `If-Match` was.",
                413: "Larger than a subscription may be.",
                415: f"Not {JSON}.",
                422: "A key is wrong: see `details`.",
            },
            parameters=(
                NAME,
                Parameter(
                    "If-None-Match",
                    "`*`: only if there is none of this name.",
                    {"enum": ["*"]},
                    "header",
                ),
            ),
            body=Content(
                "The keys of a subscription.",
                {JSON: ref("SubscriptionSection")},
                example={"url": "https://shop.example/hooks", "events": ["order.*"]},
            ),
        ),
        Operation(
            "DELETE",
            one,
            service.acts(subscriptions.delete),
            "deleteSubscription",
            "Remove a subscription",
            "As `relayd remove`: one that `relayd add` or a PUT wrote. Its backlog is held.",
            {200: answered("It is no longer in force.", "SubscriptionRemoved")},
            TO_ACT,
            parameters=(NAME,),
        ),
        Operation(
            "POST",
            f"{one}/pause",
            service.acts(subscriptions.pause),
            "pauseSubscription",
            "Hold a subscription's deliveries",
            "As `relayd pause`, until it is resumed.",
            {200: answered("It is held.", "Held")},
            TO_ACT,
            parameters=(NAME,),
        ),
        Operation(
            "POST",
            f"{one}/resume",
            service.acts(subscriptions.resume),
            "resumeSubscription",
            "Let a subscription's deliveries go on",
            "As `relayd resume`: after a pause, or a 410 of its receiver.",
            {200: answered("It goes on, where `hold` is null.", "Held")},
            TO_ACT,
            parameters=(NAME,),
        ),
        Operation(
            "POST",
            f"{one}/test",
            service.acts(subscriptions.test),
            "testSubscription",
            "Send a sample event now",
            "As `relayd test --json`. The answer is 200 also where the receiver refused it: see"
            " `succeeded`.",
            {200: answered("What came back.", "Tested")},
            {**TO_ACT, 422: "`type` is not an event type."},
            parameters=(
                NAME,
                Parameter(
                    "type",
                    "The event's type; the first that it wants without it.",
                    TYPE,
                ),
            ),
        ),
    ]
