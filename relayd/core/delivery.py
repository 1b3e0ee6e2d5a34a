"""A delivery's life: its states, and each way from one to another, in one table.

The queue stores five of the states. `held` is how a waiting delivery looks while its subscription
is held: to pause a subscription with a million waiting deliveries changes one row, not a million.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

from relayd.core.outcome import Outcome
from relayd.core.release import Extra
from relayd.core.retry import retry_wait_s


class State(StrEnum):
    """What has become of a delivery."""

    PENDING = "pending"
    """Its first attempt is still to come."""
    RETRYING = "retrying"
    """It failed, and another attempt is scheduled."""
    DELIVERED = "delivered"
    """The receiver answered 2xx."""
    EXHAUSTED = "exhausted"
    """It failed, and no attempt is left."""
    HELD = "held"
    """It waits for its subscription: see `Hold`."""
    CANCELLED = "cancelled"
    """The operator ended it."""


_LONGEST_SEQ = 18
"""Digits of a delivery's number."""

WAITING = frozenset({State.PENDING, State.RETRYING})
ENDED = frozenset({State.DELIVERED, State.EXHAUSTED, State.CANCELLED})


class Hold(StrEnum):
    """Why a subscription's deliveries are held."""

    PAUSED = "paused"
    """The operator paused it; new deliveries are made, and wait."""
    INACTIVE = "inactive"
    """`active: false`: it takes no new events, and what was waiting waits on."""
    REMOVED = "removed"
    """It is gone from the configuration; its deliveries go on when its name comes back."""
    GONE = "gone"
    """Its receiver answered 410 Gone; it goes on when resumed, or when its URL changes."""


class Change(StrEnum):
    """What can happen to a delivery."""

    SUCCEED = "succeed"
    RETRY = "retry"
    EXHAUST = "exhaust"
    CANCEL = "cancel"
    REPLAY = "replay"


TRANSITIONS: Mapping[tuple[State, Change], State] = MappingProxyType(
    {
        (State.PENDING, Change.SUCCEED): State.DELIVERED,
        (State.PENDING, Change.RETRY): State.RETRYING,
        (State.PENDING, Change.EXHAUST): State.EXHAUSTED,
        (State.PENDING, Change.CANCEL): State.CANCELLED,
        (State.RETRYING, Change.SUCCEED): State.DELIVERED,
        (State.RETRYING, Change.RETRY): State.RETRYING,
        (State.RETRYING, Change.EXHAUST): State.EXHAUSTED,
        (State.RETRYING, Change.CANCEL): State.CANCELLED,
        # It was cancelled while an attempt was under way, and that attempt succeeded.
        (State.CANCELLED, Change.SUCCEED): State.DELIVERED,
        (State.EXHAUSTED, Change.REPLAY): State.PENDING,
        (State.CANCELLED, Change.REPLAY): State.PENDING,
    }
)
"""Every transition there is. What is not in it cannot happen."""


def origins(change: Change) -> frozenset[State]:
    """Return the states in which this can happen to a delivery."""
    return frozenset(state for state, possible in TRANSITIONS if possible is change)


def shown_state(state: State, hold: Hold | None) -> State:
    """Return the state to show: what waits for a subscription that is held, is held."""
    return State.HELD if hold is not None and state in WAITING else state


@dataclass(frozen=True, slots=True)
class Delivery:
    """A delivery that is due, with all that an attempt needs.

    `attempts` counts those made before, and `step` the retries scheduled since it was made or last
    replayed. `due_at` is its scheduled time in Unix seconds; `extra` says why it is attempted
    before that.
    """

    seq: int
    id: str
    subscription: str
    event_id: str
    event_type: str
    state: State
    attempts: int
    step: int
    due_at: float
    body: bytes = field(repr=False)
    extra: Extra | None = None


@dataclass(frozen=True, slots=True)
class AttemptRecord:
    """One attempt's outcome and what it makes of the delivery: what the queue is to write.

    `started_at`, `decided_at` and `due_at` are Unix seconds; `due_at` is None once the delivery
    has ended. `rescheduled` is False where a failure left step and due time as they were.
    """

    delivery: Delivery
    started_at: float
    decided_at: float
    outcome: Outcome
    state: State
    step: int
    due_at: float | None
    rescheduled: bool = True


def decide(
    delivery: Delivery,
    outcome: Outcome,
    schedule: tuple[float, ...],
    *,
    started_at: float,
    now: float,
    jitter: float,
) -> AttemptRecord:
    """Decide what one attempt's outcome makes of its delivery.

    `schedule` holds the waits before each retry in seconds, `now` and `started_at` are Unix
    seconds, `jitter` is between -1 and 1. An extra attempt that fails leaves the schedule as it
    was. A 410 ends nothing: its subscription is held, and the delivery is due as soon as that is
    resumed. (A Retry-After is the endpoint's: see `core.endpoint`.)
    """
    step, due_at = delivery.step, None
    rescheduled = True
    if outcome.succeeded:
        change = Change.SUCCEED
    elif outcome.final:
        change = Change.EXHAUST
    elif delivery.extra is not None:
        change, due_at, rescheduled = Change.RETRY, delivery.due_at, False
    elif outcome.gone:
        change, due_at = Change.RETRY, now
    elif (wait_s := retry_wait_s(schedule, step, jitter)) is None:
        change = Change.EXHAUST
    else:
        change, step, due_at = Change.RETRY, step + 1, now + wait_s
    return AttemptRecord(
        delivery=delivery,
        started_at=started_at,
        decided_at=now,
        outcome=outcome,
        state=TRANSITIONS[delivery.state, change],
        step=step,
        due_at=due_at,
        rescheduled=rescheduled,
    )


def delivery_id(tag: str, seq: int) -> str:
    """Return a delivery's id: unique to the queue by its tag, and found by its number."""
    return f"dlv_{tag}_{seq}"


def delivery_seq(identifier: str, tag: str) -> int | None:
    """Return the number in a delivery's id, or None when it is none of this queue's."""
    prefix = f"dlv_{tag}_"
    digits = identifier.removeprefix(prefix)
    if not identifier.startswith(prefix) or not (digits.isascii() and digits.isdigit()):
        return None
    # SQLite's integers have 63 bits: more digits name no delivery, least of all one of fewer.
    return int(digits) if len(digits) <= _LONGEST_SEQ else None
