"""What relayd has to say itself: events of its own, to which a subscription listens like to others.

They are decided where something happens, become durable with it, and then come in like a spool's
rows: a source, not an arrow back. They cannot feed on themselves: what happens to one of relayd's
own events makes no event.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from relayd.core.acceptance import RejectedRow
from relayd.core.catalogue import RELAYD_TYPES
from relayd.core.delivery import AttemptRecord, State
from relayd.core.endpoint import Health
from relayd.core.json_text import JsonValue
from relayd.core.matching import Selection
from relayd.core.patterns import OWN_PREFIX, pattern_matches

MOST_NAMES: Final = 20
FAILING = "relayd.endpoint.failing"
RECOVERED = "relayd.endpoint.recovered"
THROTTLED = "relayd.endpoint.throttled"
EXHAUSTED = "relayd.delivery.exhausted"
REJECTED = "relayd.input.rejected"


@dataclass(frozen=True, slots=True)
class OwnEvent:
    """One of relayd's own events, before it has an id. `created` is in Unix seconds."""

    type: str
    created: int
    data: dict[str, JsonValue] = field(repr=False)


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """An own event as the queue keeps it until it is accepted, with its id from now on."""

    seq: int
    id: str
    event: OwnEvent


def after_attempt(
    record: AttemptRecord,
    url: str,
    subscriptions: Sequence[str],
    *,
    before: Health,
    after: Health,
) -> list[OwnEvent]:
    """Return what there is to say after an attempt to `url`, which `subscriptions` share."""
    delivery = record.delivery
    if is_own(delivery.event_type):
        return []
    now = int(record.decided_at)
    told = after_change(url, subscriptions, now, before=before, after=after)
    if after.held_long(now) and not before.held_long(now):
        throttled: dict[str, JsonValue] = {
            "url": url,
            **named(subscriptions),
            "status": record.outcome.status,
            "until": int(after.held_until),
        }
        told.append(_own_event(THROTTLED, now, throttled))
    if record.state is State.EXHAUSTED:
        told += after_exhaustion(
            delivery.id,
            now,
            event_id=delivery.event_id,
            event_type=delivery.event_type,
            subscription=delivery.subscription,
            attempts=delivery.attempts + 1,
            last_failure=record.outcome.detail,
        )
    return told


def after_exhaustion(
    delivery_id: str,
    now: float,
    *,
    event_id: str,
    event_type: str,
    subscription: str,
    attempts: int,
    last_failure: str,
) -> list[OwnEvent]:
    """Return what there is to say of a delivery that became exhausted, whatever made it so."""
    if is_own(event_type):
        return []
    thing: dict[str, JsonValue] = {
        "id": delivery_id,
        "event_id": event_id,
        "event_type": event_type,
        "subscription": subscription,
        "attempts": attempts,
        "last_failure": last_failure,
    }
    return [_own_event(EXHAUSTED, int(now), thing)]


def after_change(
    url: str, subscriptions: Sequence[str], now: int, *, before: Health, after: Health
) -> list[OwnEvent]:
    """Return what there is to say of a change of an endpoint's health, at `now` in Unix seconds.

    There is one `failing` and one `recovered` for each outage. One that only attempts of relayd's
    own events saw has neither: else an endpoint that gets nothing else would be its own cause.
    """
    names = named(subscriptions)
    if after.reported and not before.reported:
        failing: dict[str, JsonValue] = {
            "url": url,
            **names,
            "failures": after.failed_of_recent,
            "attempts": len(after.recent),
            "failing_since": _seconds(after.failing_since),
            "last_failure": after.last_failure,
        }
        return [_own_event(FAILING, now, failing)]
    if before.reported and not after.reported:
        recovered: dict[str, JsonValue] = {
            "url": url,
            **names,
            "failing_since": _seconds(before.failing_since),
            "recovered_at": now,
        }
        return [_own_event(RECOVERED, now, recovered)]
    return []


def named(subscriptions: Collection[str]) -> dict[str, JsonValue]:
    """Return an endpoint's subscriptions under the keys of logs and events.

    Those are the first `MOST_NAMES`, and how many there are where there are more: an event that
    names ten thousand has half a megabyte, at each of its listeners.
    """
    shown: dict[str, JsonValue] = {"subscriptions": list(islice(subscriptions, MOST_NAMES))}
    if len(subscriptions) > MOST_NAMES:
        shown["subscription_count"] = len(subscriptions)
    return shown


def is_own(event_type: str) -> bool:
    """Tell whether a type is one of relayd's own events'."""
    return event_type.startswith(OWN_PREFIX)


def after_rejection(rejected: Sequence[RejectedRow], now: float) -> list[OwnEvent]:
    """Return what there is to say of rows that were rejected together: one event for each code.

    `count` says how many they were, so that a spool full of bad rows is no flood of events.
    """
    first: dict[tuple[str, str], RejectedRow] = {}
    counts: dict[tuple[str, str], int] = {}
    for each in rejected:
        key = (each.source, each.rejection.code)
        first.setdefault(key, each)
        counts[key] = counts.get(key, 0) + 1
    return [
        _own_event(
            REJECTED,
            int(now),
            {
                "source": source,
                "code": code,
                "reason": first[source, code].rejection.reason,
                "count": count,
            },
        )
        for (source, code), count in counts.items()
    ]


def wanted_types(selections: Iterable[Selection]) -> frozenset[str]:
    """Return the types of relayd's own events that some selection asks for.

    The others are not made: nobody would get them.
    """
    patterns = {pattern for selection in selections for pattern in selection.events}
    return frozenset(
        own for own in RELAYD_TYPES if any(pattern_matches(pattern, own) for pattern in patterns)
    )


def _own_event(event_type: str, now: int, thing: dict[str, JsonValue]) -> OwnEvent:
    return OwnEvent(event_type, now, {"object": thing})


def _seconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
