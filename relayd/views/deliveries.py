"""Deliveries and events, as the documents of `deliveries` and `show`.

The keys are part of the contract. Each time stands twice: in ISO 8601 (UTC), and under the same key
with `_unix` in Unix seconds.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relayd.core.advice import next_step
from relayd.core.delivery import State
from relayd.core.js_json import Parsed, parse_json
from relayd.queue.snapshot_values import (
    Attempt,
    DeliveryDetail,
    EventDetail,
    KeptWebhook,
    ListedDelivery,
    Page,
)
from relayd.views.moments import moment_fields


@dataclass(frozen=True, slots=True)
class InFlight:
    """Where an attempt of a delivery is in flight: at `endpoint`, a URL without its path.

    `left` says that its subscription has another URL by now.
    """

    endpoint: str
    left: bool

    @property
    def words(self) -> str:
        """That it is in flight, in words."""
        words = f"an attempt is in flight at {self.endpoint}"
        if self.left:
            words += ", a URL that its subscription has left"
        return words


def in_flight_places(answer: Mapping[str, Any]) -> dict[int, InFlight]:
    """Return what the daemon's answer to `in_flight` says, by the deliveries' numbers."""
    places: Mapping[str, Mapping[str, object]] = answer["in_flight"]
    return {
        int(seq): InFlight(str(place["endpoint"]), left=bool(place["left"]))
        for seq, place in places.items()
    }


def page_document(page: Page, in_flight: Mapping[int, InFlight] | None = None) -> dict[str, object]:
    """Return a page of deliveries; `older_before` is what `--before` takes for the next page."""
    return {
        "deliveries": [delivery_document(each, in_flight) for each in page.deliveries],
        "older_before": page.deliveries[-1].id if page.more else None,
    }


def event_document(
    event: EventDetail, in_flight: Mapping[int, InFlight] | None = None
) -> dict[str, object]:
    """Return an event; `body` is the text that was sent, `history` a delivery's attempts."""
    return {
        "id": event.id,
        "type": event.type,
        "market_id": event.market_id,
        "object_id": event.object_id,
        "sequence": event.sequence,
        **moment_fields("created_at", float(event.created)),
        **moment_fields("accepted_at", event.accepted_at),
        "source": event.source,
        "body": None if event.body is None else event.body.decode(),
        **({} if event.webhook is None else {"webhook": _webhook_document(event.webhook)}),
        "unfaithful": list(unfaithful_fields(event)),
        "deliveries": [
            {
                **delivery_document(each.delivery, in_flight),
                "history": [_attempt_document(attempt) for attempt in each.attempts],
            }
            for each in event.deliveries
        ],
    }


def _webhook_document(webhook: KeptWebhook) -> dict[str, object]:
    """Return what an inbound event was made of, without its raw body, which need not be text."""
    return {
        "key": webhook.key,
        "headers": None if webhook.headers is None else json.loads(webhook.headers),
        "raw_bytes": webhook.raw_bytes,
        "raw_sha256": webhook.raw_sha256.hex(),
        "raw_kept": webhook.raw is not None,
    }


def delivery_document(
    delivery: ListedDelivery, in_flight: Mapping[int, InFlight] | None = None
) -> dict[str, object]:
    """Return one delivery. `in_flight` has what is being attempted, None where that is not known."""
    return {
        "id": delivery.id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "market_id": delivery.market_id,
        "object_id": delivery.object_id,
        "sequence": delivery.sequence,
        "subscription": delivery.subscription,
        "state": delivery.state,
        "hold": delivery.hold,
        "attempts": delivery.attempts,
        **moment_fields("accepted_at", delivery.accepted_at),
        **moment_fields("changed_at", delivery.changed_at),
        **moment_fields("due_at", delivery.due_at),
        **moment_fields("ended_at", delivery.ended_at),
        **moment_fields("last_attempt_at", delivery.last_started_at),
        "last_status": delivery.last_status,
        "last_failure": delivery.last_failure,
        "last_cause": delivery.last_cause,
        **place_document(delivery),
        **in_flight_document(delivery, in_flight),
    }


def place_document(delivery: ListedDelivery) -> dict[str, object]:
    """Return a delivery's place in its order: what it is behind, and which one has its turn."""
    place = delivery.place
    return {
        "order_key": None if place is None else place.key,
        "behind": None if place is None else place.behind,
        "behind_first": None if place is None else place.first,
    }


def in_flight_document(
    delivery: ListedDelivery, in_flight: Mapping[int, InFlight] | None
) -> dict[str, object]:
    """Return what is known of a delivery under the keys of its document, null where it is not."""
    place = None if in_flight is None else in_flight.get(delivery.seq)
    return {
        "in_flight": None if in_flight is None else place is not None,
        "in_flight_at": None if place is None else place.endpoint,
        "in_flight_at_old_url": None if place is None else place.left,
    }


def _attempt_document(attempt: Attempt) -> dict[str, object]:
    return {
        "number": attempt.number,
        **moment_fields("started_at", attempt.started_at),
        "duration_ms": round(attempt.duration_s * 1000, 1),
        "status": attempt.status,
        "failure": attempt.failure,
        "cause": attempt.cause or attempt.failure,
        "subject": attempt.subject or None,
        "detail": attempt.detail,
        "answer": attempt.answer.decode(errors="replace"),
        "extra": attempt.extra,
    }


def unfaithful_fields(event: EventDetail) -> tuple[str, ...]:
    """Return the fields of an event's body that not every receiver carries unchanged."""
    if event.body is None:
        return ()
    parsed = parse_json(event.body.decode())
    return parsed.unfaithful if isinstance(parsed, Parsed) else ()


def after_last_attempt(detail: DeliveryDetail, unfaithful: Sequence[str]) -> str | None:
    """Return what to do about a delivery's last attempt, where it failed and has not succeeded."""
    last = detail.attempts[-1] if detail.attempts else None
    # What a 410 or a cancellation needs is said with the state.
    if last is None or detail.delivery.state in {State.DELIVERED, State.CANCELLED}:
        return None
    return next_step(
        last.status,
        last.cause or last.failure,
        detail.delivery.subscription,
        subject=last.subject,
        unfaithful=unfaithful,
        exhausted=detail.delivery.state is State.EXHAUSTED,
    )
