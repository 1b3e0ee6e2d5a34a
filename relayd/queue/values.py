"""The values that the queue's writer takes and returns. Times are Unix seconds."""

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from relayd.core.delivery import AttemptRecord, Delivery
from relayd.core.endpoint import Health
from relayd.core.hold import Holds
from relayd.core.own_events import Report
from relayd.core.value import value

MOST_ROWS: Final = 500
"""So many rows are changed in one transaction, so that what is delivered meanwhile waits little."""


@dataclass(frozen=True, slots=True)
class Want:
    """One endpoint's wish for at most `count` due deliveries of its subscriptions.

    `busy` holds the numbers of those in flight. `recovery` is the number of the endpoint's last
    recovery, which released retries: see `core.release`. `now` is in Unix seconds.
    """

    subscriptions: tuple[str, ...]
    count: int
    now: float
    busy: frozenset[int]
    recovery: int
    backlog_first: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """What a `Want` found.

    `next_due` says when to ask for each subscription again: a time that has come where more is due
    than was wanted. Subscriptions for which nothing else waits are not in it.
    """

    deliveries: tuple[Delivery, ...]
    next_due: dict[str, float]
    backlog_first: bool


@value
class Recording:
    """One attempt's record, and how to get the endpoint's health where the attempt changed it.

    The health is asked for when it is written: an older one never replaces a newer one, however
    long a record had to wait. `own_events` are what relayd has to say of it, if it turns out so: that
    a delivery is exhausted, or a subscription held. `newest_release` is that of when the attempt
    began: one that came after it still applies to its delivery.
    """

    record: AttemptRecord
    url: str = field(repr=False)  # its path may be a secret
    health: Callable[[], Health] | None
    own_events: tuple[Report, ...] = ()
    newest_release: int = 0


@dataclass(frozen=True, slots=True)
class Declared:
    """What the configuration says of a subscription, as far as the queue needs it.

    `made_with` is a mark of what its requests are made with, such as its secret: with another one,
    what waits may succeed. `keeps_place`: its exhausted deliveries block those behind them in their order.
    """

    name: str
    url: str = field(repr=False)  # its path may be a secret
    active: bool
    made_with: bytes = b""
    keeps_place: bool = False


@dataclass(frozen=True, slots=True)
class Changed:
    """How many deliveries were changed, and the names of their subscriptions."""

    count: int
    subscriptions: frozenset[str]


@dataclass(frozen=True, slots=True)
class HandoverStep:
    """What one step did.

    `moved` deliveries were handed over, of which `waiting` have not ended, and `released` are
    retries that are attempted before their scheduled time. `through` is the number
    of the last delivery that was looked at, `last` that of the last one there is: at the end they
    are equal. Of those that were looked at, `in_flight` wait for the end of their attempts, and
    `kept` stay, since the other has a delivery of the same event. `holds_moved`: what held the old
    one holds the new one now.
    """

    moved: int
    waiting: int
    through: int
    last: int
    in_flight: int
    kept: int
    holds_moved: bool
    released: int = 0


@dataclass(frozen=True, slots=True)
class Waiting:
    """One subscription's backlog, all that holds it, and the URL that the queue knows of it."""

    count: int
    holds: Holds
    url: str = field(repr=False)  # its path may be a secret


@dataclass(frozen=True, slots=True)
class Horizon:
    """What may go, in Unix seconds: what ended before `ended`, and ids accepted before `known`."""

    ended: float
    known: float


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a search for what may go has come: the oldest event first."""

    accepted_at: float = 0.0
    event_type: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class PruneStep:
    """Events to remove in one transaction, and where the search goes on; None at its end."""

    events: tuple[int, ...]
    cursor: Cursor | None


@dataclass(frozen=True, slots=True)
class Retries:
    """Deliveries by their numbers, each with when its next attempt was scheduled.

    There may be a million of them: 16 bytes each.
    """

    seqs: "array[int]"
    scheduled: "array[float]"

    def __len__(self) -> int:
        return len(self.seqs)

    def part(self, begin: int, count: int) -> "Retries":
        """Return `count` of them from the one at `begin` on."""
        chunk = slice(begin, begin + count)
        return Retries(self.seqs[chunk], self.scheduled[chunk])
