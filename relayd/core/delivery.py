"""A delivery's states, every transition between them in one table, and what an attempt decides.

Whether a failed delivery is retried, and when, is decided here (`decide`); how long the schedule makes
it wait is in `core.retry`.

The queue stores five of the states. `held` is shown instead of `pending` and `retrying` while the
subscription is held: to pause a subscription with a backlog of a million changes one row, not a million.

`make docs` writes the table and the states' descriptions below into docs/architecture.md.
"""

from collections.abc import Mapping
from dataclasses import field, replace
from enum import StrEnum
from types import MappingProxyType

from relayd.core.hold import Hold
from relayd.core.outcome import Outcome
from relayd.core.release import Extra
from relayd.core.retry import retry_wait_s
from relayd.core.value import value


class State(StrEnum):
    """The state of a delivery: what it means, who moves it on, and what a crash leaves."""

    PENDING = "pending"
    """No attempt has ended since the delivery was made or replayed. Its endpoint's task moves it on when
    its first attempt ends; the operator may cancel it. A crash leaves it pending and due: an attempt in
    flight is not recorded, does not count, and is made again."""
    RETRYING = "retrying"
    """An attempt failed, and the next one is scheduled. Its endpoint's task moves it on when that attempt
    ends; the operator may cancel it. A crash leaves it retrying, with the same due time."""
    DELIVERED = "delivered"
    """The receiver answered 2xx. It has ended; the operator may have it sent again, otherwise retention
    removes it. A crash before the outcome is recorded leaves it as it was before the attempt, and the
    receiver gets it again."""
    EXHAUSTED = "exhausted"
    """The last attempt of its schedule failed, or it is quarantined: it crashed relayd 3 times. It has
    ended; the operator may replay it, otherwise retention removes it. A crash changes nothing."""
    HELD = "held"
    """Shown instead of `pending` and `retrying` while its subscription is held; never stored. It ends with
    the hold (see `Hold`), and the delivery goes on in its stored state. A crash changes nothing."""
    CANCELLED = "cancelled"
    """The operator ended it. The operator may replay it, otherwise retention removes it; if an attempt was
    in flight and succeeds, it becomes delivered. A crash changes nothing, but such an attempt is lost."""


_LONGEST_SEQ = 18
"""Digits of a delivery's number."""

WAITING = frozenset({State.PENDING, State.RETRYING})
"""What is stored of a delivery that has not ended."""

BACKLOG = (State.PENDING, State.RETRYING, State.HELD)
"""What is shown of a delivery that has not ended, in this order; stored it is one of `WAITING`."""

ENDED = frozenset({State.DELIVERED, State.EXHAUSTED, State.CANCELLED})


class Change(StrEnum):
    """What can happen to a delivery, and who does it."""

    SUCCEED = "succeed"
    """An attempt succeeded: a complete 2xx head within the timeout."""
    RETRY = "retry"
    """An attempt failed, and its schedule has another one; or it answered 410, or was an extra attempt."""
    EXHAUST = "exhaust"
    """An attempt failed, and its schedule has no other; or the delivery is quarantined."""
    CANCEL = "cancel"
    """The operator: `relayd cancel`."""
    GIVE_UP = "give up"
    """The operator: `relayd cancel`, of a delivery that blocks others in their order (`on_exhausted: hold`)."""
    REPLAY = "replay"
    """The operator: `relayd replay`. The retry schedule begins again; attempts are counted on."""
    RESEND = "resend"
    """The operator: `relayd replay --state delivered`, as `replay` of what was delivered, and only asked for so."""


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
        # It was cancelled while an attempt was in flight, and that attempt succeeded.
        (State.CANCELLED, Change.SUCCEED): State.DELIVERED,
        (State.EXHAUSTED, Change.REPLAY): State.PENDING,
        (State.EXHAUSTED, Change.GIVE_UP): State.CANCELLED,
        (State.CANCELLED, Change.REPLAY): State.PENDING,
        (State.DELIVERED, Change.RESEND): State.PENDING,
    }
)
"""Every transition. What is not in this table cannot happen."""


def origins(change: Change) -> frozenset[State]:
    """Return the states in which this can happen to a delivery."""
    return frozenset(state for state, possible in TRANSITIONS if possible is change)


def shown_state(state: State, hold: Hold | None) -> State:
    """Return the state to show: `held` for the backlog of a subscription that is held."""
    return State.HELD if hold is not None and state in WAITING else state


@value
class Delivery:
    """A delivery that is due, with all that an attempt needs.

    `attempts` counts those made before, and `step` the retries scheduled since it was made or last
    replayed. `due_at` is its scheduled time in Unix seconds; `extra` says why it is attempted
    before that. `sequence` is its event's number (see `core.sequence`), None for a sample; events with the
    same `order_key` are sent one after the other, and None is unordered.
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
    sequence: int | None = None
    order_key: str | None = field(default=None, repr=False)


@value
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

    def moved(self, step: float, now: float) -> "AttemptRecord":
        """Return it as decided `now`, after a step of the clock, for the same moment."""
        due_at = None if self.due_at is None else self.due_at + step
        return replace(self, decided_at=now, due_at=due_at)


def decide(
    delivery: Delivery,
    outcome: Outcome,
    schedule: tuple[float, ...],
    *,
    started_at: float,
    now: float,
    jitter: float,
) -> AttemptRecord:
    """Decide what one attempt's outcome makes of its delivery: whether it is retried, and when.

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
