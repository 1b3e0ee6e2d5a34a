"""Why an event did or did not arrive, in plain words: one `Explanation` for each subscription."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from relayd.core.delivery import State
from relayd.core.hold import Hold
from relayd.core.js_json import Parsed, parse_json
from relayd.core.matching import Matcher, Selection
from relayd.queue.snapshot_values import (
    Attempt,
    DeliveryDetail,
    EventDetail,
    ListedDelivery,
)
from relayd.views.deliveries import (
    InFlight,
    after_last_attempt,
    in_flight_document,
    place_document,
    unfaithful_fields,
)
from relayd.views.moments import clock_time, iso
from relayd.views.waiting import Circumstances, key_words, waits_for

_HOLD_WORDS = {
    Hold.PAUSED: "it was paused: it waits until `relayd resume {name}`",
    Hold.INACTIVE: "it has active: false: its backlog goes on once that is changed",
    Hold.REMOVED: "it is gone from the configuration: its backlog goes on if its name is back",
    Hold.GONE: "its receiver answered 410 Gone, which means never again: it waits until its url"
    " changes, or `relayd resume {name}`",
}


@dataclass(frozen=True, slots=True)
class Explanation:
    """What became of an event at one subscription.

    `outcome` is for programs: `delivered`, `waiting`, `held`, `exhausted`, `cancelled`; without a
    delivery `not_matched`, `inactive`, `missed` (it is wanted now, and was not then) or `unknown`.
    `next_step` is what to do about its last attempt, where that failed and something is known.
    `until` is when the next attempt may start, in Unix seconds, where that is known.
    """

    subscription: str
    outcome: str
    reason: str
    delivery: DeliveryDetail | None = None
    until: float | None = None
    next_step: str | None = None


class Wants(Protocol):
    """What a subscription wants, and whether it takes new events."""

    @property
    def selection(self) -> Selection:
        """Which events."""

    @property
    def active(self) -> bool:
        """Whether it takes new ones."""


class Wanting(Protocol):
    """The configuration, as far as it says who wants what: see `PartialConfig`."""

    @property
    def subscriptions(self) -> Mapping[str, Wants]:
        """What each subscription wants, in the configuration's order."""

    @property
    def doubtful(self) -> frozenset[str]:
        """The subscriptions of which that has a fault."""


def explain_event(
    event: EventDetail, config: Wanting | None, circumstances: Circumstances
) -> Iterator[Explanation]:
    """Yield what became of the event at each subscription, in the configuration's order.

    Without `config` (the configuration cannot be read), of its deliveries alone.
    """
    deliveries = {each.delivery.subscription: each for each in event.deliveries}
    names = () if config is None else config.subscriptions
    verdicts = {} if config is None else _verdicts(event, config, circumstances)
    for name in dict.fromkeys((*names, *deliveries)):
        if name in deliveries:
            yield replace(
                _of_delivery(deliveries[name], circumstances),
                next_step=after_last_attempt(deliveries[name], unfaithful_fields(event)),
            )
        else:
            yield verdicts[name]


def _verdicts(
    event: EventDetail, config: Wanting, circumstances: Circumstances
) -> dict[str, Explanation]:
    parsed = None if event.body is None else parse_json(event.body.decode())
    if not isinstance(parsed, Parsed) or not isinstance(parsed.value, dict):
        reason = "the event's content was removed after the retention, so nothing can be said"
        return {name: Explanation(name, "unknown", reason) for name in config.subscriptions}
    matcher = Matcher({name: each.selection for name, each in config.subscriptions.items()})
    found: dict[str, Explanation] = {}
    for verdict in matcher.explain(parsed.value):
        name = verdict.name
        if name in config.doubtful:
            reason = "what it wants has a fault in the configuration; `relayd check` says which"
            found[name] = Explanation(name, "unknown", reason)
        elif not verdict.matched:
            found[name] = Explanation(name, "not_matched", verdict.reason)
        elif not config.subscriptions[name].active:
            reason = "it has active: false, and takes no new events"
            found[name] = Explanation(name, "inactive", reason)
        else:
            reason = (
                "it would be wanted now; when it was accepted, the subscription was new or"
                " inactive, or wanted other events."
                f" {_backfill_words(name, event, circumstances)}"
            )
            found[name] = Explanation(name, "missed", reason)
    return found


def _backfill_words(name: str, event: EventDetail, circumstances: Circumstances) -> str:
    """Return the command that sends an event that is wanted now, by the file, and was not then."""
    command = f"`relayd replay --backfill {name} {event.id}`"
    hold = circumstances.holds.get(name, Hold.REMOVED)
    # The daemon goes by what is in force.
    if circumstances.to_reload or hold in {Hold.REMOVED, Hold.INACTIVE}:
        return f"`relayd reload`, then {command} sends it"
    if hold is not None:
        return f"{command} makes a delivery; {_HOLD_WORDS[hold].format(name=name)}"
    return f"{command} sends it"


def _replay_words(delivery: ListedDelivery, circumstances: Circumstances, done: str) -> str:
    """Return what a replay of an ended delivery does: `done`, unless its subscription is held."""
    name = delivery.subscription
    command = f"`relayd replay {delivery.id}`"
    hold = circumstances.holds.get(name)
    if hold is not None:
        return f"{command} makes it due again; {_HOLD_WORDS[hold].format(name=name)}"
    return f"{command} {done}"


def _of_delivery(detail: DeliveryDetail, circumstances: Circumstances) -> Explanation:
    delivery = detail.delivery
    name = delivery.subscription
    last = detail.attempts[-1] if detail.attempts else None
    count = f"{delivery.attempts} attempt{'' if delivery.attempts == 1 else 's'}"
    ended = "" if delivery.ended_at is None else clock_time(delivery.ended_at)
    match delivery.state:
        case State.DELIVERED:
            status = "" if last is None or last.status is None else f": it answered {last.status}"
            reason = f"delivered at {ended}, with attempt {delivery.attempts}{status}"
            return Explanation(name, "delivered", reason, detail)
        case State.EXHAUSTED:
            reason = (
                f"exhausted at {ended} after {count}; {_last_attempt(last)}."
                f" {_replay_words(delivery, circumstances, 'sends it again')}"
            )
            if delivery.place is not None:
                reason += (
                    f". Events with the same {key_words(delivery.place)} wait behind it until that"
                    f" succeeds (on_exhausted: hold), or until `relayd cancel {delivery.id}`"
                )
            return Explanation(name, "exhausted", reason, detail)
        case State.CANCELLED:
            tried = f"; {_last_attempt(last)}" if last is not None else ", before any attempt"
            reason = (
                f"cancelled by the operator at {ended}{tried}."
                f" {_replay_words(delivery, circumstances, 'takes it back')}"
            )
            return Explanation(name, "cancelled", reason, detail)
    tried = f"; {_last_attempt(last)}" if last is not None else ""
    in_flight = (circumstances.in_flight or {}).get(delivery.seq)
    if delivery.hold is not None:
        began = "" if in_flight is None else f"; {in_flight.words}, and goes on"
        reason = f"held: {_HOLD_WORDS[delivery.hold].format(name=name)}{began}{tried}"
        return Explanation(name, "held", reason, detail)
    return Explanation(
        name,
        "waiting",
        f"pending: {waits_for(delivery, circumstances) if in_flight is None else in_flight.words}{tried}",
        detail,
        delivery.due_at,
    )


def _last_attempt(attempt: Attempt | None) -> str:
    if attempt is None:
        return "there was no attempt"
    if attempt.failure is None:  # it was delivered, and sent again
        answered = f"answered {attempt.status}"
        return f"attempt {attempt.number}, at {clock_time(attempt.started_at)}, {answered}"
    words = attempt.detail or attempt.failure
    return f"attempt {attempt.number}, at {clock_time(attempt.started_at)}, failed: {words}"


def explanation_document(
    event: EventDetail, explained: Sequence[Explanation], circumstances: Circumstances
) -> dict[str, object]:
    """Return what became of an event, for programs. The keys are part of the contract."""
    return {
        "id": event.id,
        "type": event.type,
        "market_id": event.market_id,
        "object_id": event.object_id,
        "sequence": event.sequence,
        "unfaithful": list(unfaithful_fields(event)),
        "accepted_at": iso(event.accepted_at),
        "accepted_at_unix": event.accepted_at,
        "running": circumstances.running,
        "subscriptions": [
            _subscription_document(each, circumstances.in_flight) for each in explained
        ],
    }


def _subscription_document(
    each: Explanation, in_flight: Mapping[int, InFlight] | None
) -> Mapping[str, object]:
    delivery = None if each.delivery is None else each.delivery.delivery
    return {
        "name": each.subscription,
        "outcome": each.outcome,
        "reason": each.reason,
        "next_step": each.next_step,
        "delivery_id": None if delivery is None else delivery.id,
        "state": None if delivery is None else delivery.state,
        "hold": None if delivery is None else delivery.hold,
        "attempts": None if delivery is None else delivery.attempts,
        "until": iso(each.until),
        "until_unix": each.until,
        **({} if delivery is None else place_document(delivery)),
        **({} if delivery is None else in_flight_document(delivery, in_flight)),
    }
