"""What relayd has to say itself: events of its own, to which a subscription listens like to others.

They are decided where something happens, become durable with it, and then come in like a spool's
rows: a source, not an arrow back. They cannot feed on themselves: a failure of one of relayd's own
events makes no event. A 410 for one does, once, as it holds the subscription for everything else too.

The fields of an own event are below `data.object`. `subscription`, or `source`, is what it is about; for an
endpoint there are `url` (without its path) and `subscriptions`. Where there is a cause, `reason` says it for
people and `code` for programs. Times, such as `since`, are Unix seconds. `next` is the command to go on
with, or a sentence that begins with what to repair.
An event that is counted (see `Counted`) has `count`, `since` and `ids` too. `core/samples.py` has a sample
of each.
"""

import shlex
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from types import MappingProxyType
from typing import Final

from relayd.core.acceptance import RejectedRow
from relayd.core.advice import next_step
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
HELD = "relayd.subscription.held"
EXHAUSTED = "relayd.delivery.exhausted"
REJECTED = "relayd.input.rejected"


MOST_IDS: Final = 10
"""So many ids a counted event names."""

LONGEST_TEXT: Final = 300
"""Text in an own event that others wrote is cut to so many characters."""

_SUBJECTS: Final[Mapping[str, str]] = MappingProxyType(
    {EXHAUSTED: "subscription", REJECTED: "source"}
)

_ITS_NAME: Final = "{subscription}"
"""Stands in what is counted for the subscription's name, which `rename` may change meanwhile."""


@dataclass(frozen=True, slots=True)
class OwnEvent:
    """One of relayd's own events, before it has an id. `created` is in Unix seconds."""

    type: str
    created: int
    data: dict[str, JsonValue] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Counted:
    """What happened once or more, and is reported at most once in ten minutes: see `core.notices`.

    `type` is that of the own event, `subject` the subscription or the source. `since` is when the first of
    these happened, in Unix seconds, `ids` are those of the first `MOST_IDS`: the deliveries', or their numbers on
    the rejected list. `details` are the fields that only the latest one has; there
    `next` is what to repair, where that is known, with `_ITS_NAME` for the subscription's name.
    """

    type: str
    subject: str
    count: int
    since: float
    ids: tuple[str, ...]
    details: Mapping[str, JsonValue] = field(repr=False)

    def event(self, now: float) -> OwnEvent:
        """Return the own event that reports all of these at `now`, in Unix seconds."""
        details = dict(self.details)
        repair = str(details.pop("next", "")).replace(_ITS_NAME, self.subject)
        if self.type == EXHAUSTED:
            command = f"relayd replay {shlex.quote(self.subject)}"
        else:
            command = "relayd rejected list"
        thing: dict[str, JsonValue] = {
            _SUBJECTS[self.type]: self.subject,
            **details,
            "count": self.count,
            # The clock may have been set back meanwhile.
            "since": int(min(self.since, now)),
            "ids": list(self.ids),
            "next": _after_repair(repair, command) if repair else command,
        }
        return OwnEvent(self.type, int(now), {"object": thing})


Report = OwnEvent | Counted
"""What relayd has to say: at once, or counted."""


@dataclass(frozen=True, slots=True)
class OutboxRow:
    """An own event as the queue keeps it until it is accepted, with its id from now on."""

    seq: int
    id: str
    event: OwnEvent


def after_attempt(
    record: AttemptRecord,
    url: str,
    subscriptions: Collection[str],
    *,
    before: Health,
    after: Health,
) -> list[Report]:
    """Return what there is to say after an attempt to `url`, which `subscriptions` share.

    Of a 410, too: whoever writes it knows whether it holds the subscription, or is late or not the first.
    """
    delivery = record.delivery
    now = int(record.decided_at)
    told: list[Report] = []
    if record.outcome.gone:
        held: dict[str, JsonValue] = {
            "subscription": delivery.subscription,
            "url": url,
            "status": record.outcome.status,
            "reason": "its receiver answered 410 Gone",
            "since": now,
            "ids": [delivery.id],
            "next": f"relayd resume {shlex.quote(delivery.subscription)}",
        }
        told.append(_own_event(HELD, now, held))
    if is_own(delivery.event_type):
        return told
    outcome = record.outcome
    why, name = outcome.why, delivery.subscription
    step = next_step(outcome.status, why, name, subject=outcome.subject)
    told += after_change(url, subscriptions, now, before=before, after=after, step=step)
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
            record.decided_at,
            event_type=delivery.event_type,
            subscription=delivery.subscription,
            attempts=delivery.attempts + 1,
            last_failure=record.outcome.detail,
            repair=next_step(
                outcome.status, why, _ITS_NAME, subject=outcome.subject, exhausted=True
            ),
        )
    return told


def after_exhaustion(
    delivery_id: str,
    now: float,
    *,
    event_type: str,
    subscription: str,
    attempts: int,
    last_failure: str,
    repair: str | None,
) -> list[Counted]:
    """Return what there is to say of a delivery that became exhausted, whatever made it so.

    `repair` is what to do about that, where it is known: sent again without it, it fails again.
    """
    if is_own(event_type):
        return []
    details: dict[str, JsonValue] = {
        "event_type": event_type,
        "attempts": attempts,
        "reason": shortened(last_failure),
    }
    if repair is not None:
        details["next"] = repair
    return [Counted(EXHAUSTED, subscription, 1, now, (delivery_id,), details)]


def after_change(
    url: str,
    subscriptions: Collection[str],
    now: int,
    *,
    before: Health,
    after: Health,
    step: str | None = None,
) -> list[OwnEvent]:
    """Return what there is to say of a change of an endpoint's health, at `now` in Unix seconds.

    `step` is what to do about the attempt that failed, where that is known.

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
            "next": step
            or f"`relayd test {next(iter(subscriptions), 'SUBSCRIPTION')}` tries it now",
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


def after_rejection(rejected: Sequence[tuple[int, RejectedRow]], now: float) -> list[Counted]:
    """Return what there is to say of rows that were rejected together, each with its number on the list."""
    return [
        Counted(
            REJECTED,
            row.source,
            1,
            now,
            (str(number),),
            {"code": row.rejection.code, "reason": shortened(row.rejection.reason)},
        )
        for number, row in rejected
    ]


def shortened(text: str) -> str:
    """Return text with at most `LONGEST_TEXT` characters."""
    return text if len(text) <= LONGEST_TEXT else text[: LONGEST_TEXT - 1] + "…"


def wanted_types(selections: Iterable[Selection]) -> frozenset[str]:
    """Return the types of relayd's own events that some selection asks for.

    The others are not made: nobody would get them.
    """
    patterns = {pattern for selection in selections for pattern in selection.events}
    return frozenset(
        own for own in RELAYD_TYPES if any(pattern_matches(pattern, own) for pattern in patterns)
    )


def _after_repair(repair: str, command: str) -> str:
    return f"{repair} Then `{command}`" if repair.endswith("?") else f"{repair}; then `{command}`"


def _own_event(event_type: str, now: int, thing: dict[str, JsonValue]) -> OwnEvent:
    return OwnEvent(event_type, now, {"object": thing})


def _seconds(moment: float | None) -> int | None:
    return None if moment is None else int(moment)
