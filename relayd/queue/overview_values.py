"""The values of the queue's overview: endpoints, subscriptions, and what fills the file.

Times are Unix seconds.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from relayd.core.durations import quantile_s
from relayd.core.endpoint import Health
from relayd.core.hold import Hold
from relayd.queue.snapshot_values import RemovedInput


@dataclass(slots=True)
class Tally:
    """Attempts at one endpoint in some time. `response_classes` counts those that were answered."""

    delivered: int = 0
    failed: int = 0
    exhausted: int = 0
    response_classes: Counter[int] = field(default_factory=Counter)

    @property
    def attempts(self) -> int:
        """How many there were."""
        return self.delivered + self.failed

    @property
    def success_rate(self) -> float | None:
        """Which share of them succeeded; None without any."""
        return self.delivered / self.attempts if self.attempts else None

    def response_s(self, quantile: float) -> float | None:
        """Return the time within which this share of the answers came, in seconds."""
        return quantile_s(self.response_classes, quantile)


@dataclass(frozen=True, slots=True)
class Tallies:
    """What came of the attempts at one endpoint."""

    last_hour: Tally
    last_day: Tally


@dataclass(frozen=True, slots=True)
class Contents:
    """How many bytes of the file what takes: all but `free` and the sum are estimates.

    `other` is the deliveries, the indexes, and what pages have left over.
    """

    events: int
    attempts: int
    rejected: int
    other: int
    free: int


@dataclass(frozen=True, slots=True)
class SubscriptionStanding:
    """What waits for one subscription. Times are Unix seconds, None where nothing waits.

    `next_due_at` is when the next attempt may start, as the endpoint stands; None while it is held. Of
    `waiting`, `retrying` have failed before, `behind` wait for others in their order; `blocking` counts the exhausted ones that hold others.
    `exhausted` counts all that are kept, `exhausted_since` those that were given up since the time asked for.
    """

    name: str
    url: str = field(repr=False)  # its path may be a secret
    hold: Hold | None
    waiting: int
    oldest_accepted_at: float | None
    next_due_at: float | None
    behind: int = 0
    blocking: int = 0
    exhausted: int = 0
    exhausted_since: int = 0
    retrying: int = 0


@dataclass(frozen=True, slots=True)
class EndpointStanding:
    """One URL: its health, its subscriptions, and what came of its attempts."""

    url: str = field(repr=False)  # its path may be a secret
    health: Health
    subscriptions: tuple[SubscriptionStanding, ...]
    tallies: Tallies


@dataclass(frozen=True, slots=True)
class QueueStanding:
    """The queue as a whole; `size_bytes` with its -wal, of which `free_bytes` are free for more.

    `contents` is what fills the file. `removed` is rejected input that went for its source's limit.
    `rejected_since` counts what was rejected since the time asked for. `oldest_event_at` is when the oldest event that is kept was accepted, in Unix seconds.
    """

    size_bytes: int
    free_bytes: int
    oldest_event_at: float | None
    deliveries: int
    waiting: int
    rejected: int
    contents: Contents
    removed: tuple[RemovedInput, ...] = ()
    rejected_since: int = 0


@dataclass(frozen=True, slots=True)
class InboundStanding:
    """What came of the webhooks of one entry, as far as the queue has it: what was refused is not in it.

    `accepted` counts what was ever accepted. Of the last 24 hours `accepted_last_day` counts the newest
    alone where there were very many: then it is `at_least` so many. `last_accepted_at` is in Unix seconds,
    None where the newest of all entries have none of it. `rejected` counts what is kept of rejected
    input; `last_rejected` is the number, the time and the code of the newest.
    """

    accepted: int = 0
    accepted_last_day: int = 0
    at_least: bool = False
    last_accepted_at: float | None = None
    rejected: int = 0
    rejected_last_day: int = 0
    last_rejected: tuple[int, float, str] | None = None


@dataclass(frozen=True, slots=True)
class Overview:
    """All of it, endpoints in the order of their URLs.

    `inbound` has the sources of inbound webhooks that ever brought one, by name.
    """

    endpoints: tuple[EndpointStanding, ...]
    queue: QueueStanding
    inbound: Mapping[str, InboundStanding] = field(default_factory=dict)


@dataclass(slots=True)
class AttemptTotals:
    """One subscription's attempts ever made: by what they made of their deliveries, and by how long they took.

    `within_ms` has the bounds of `core.durations`, each with the attempts between it and the one before.
    `causes` has those that failed, by their cause and the response's `core.outcome.counted_status`.
    """

    states: Counter[str] = field(default_factory=Counter)
    within_ms: Counter[int] = field(default_factory=Counter)
    seconds: float = 0.0
    causes: Counter[tuple[str, int]] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Totals:
    """What never falls while the queue's file stays.

    `attempts` is by subscription, of all that were ever declared, in that order; `accepted` counts
    events, and `rejected` input, by source.
    """

    attempts: Mapping[str, AttemptTotals]
    accepted: Mapping[str, int]
    rejected: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Hour:
    """The attempts at one endpoint in one hour, which began at `since` (Unix seconds)."""

    since: int
    delivered: int
    failed: int


@dataclass(frozen=True, slots=True)
class FailureCount:
    """Failed attempts with one cause, for one subscription in one hour, which began at `since`.

    `cause` is a `Cause`, or a `Failure` where nothing more is known; `status` is what
    `core.outcome.counted_status` made of the responses', where there were any. The last of them was made at `last_at` for the
    delivery with the number `delivery`; `detail` says what happened.
    """

    since: int
    subscription: str
    cause: str
    status: int | None
    count: int
    last_at: float
    delivery: int
    detail: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Failures:
    """Failed attempts by hour and cause.

    Not `complete` where relayd was upgraded in that time to one that counts them: of those before, only
    the ones of the newest deliveries are counted then, and of some that were waiting or exhausted.
    """

    counts: tuple[FailureCount, ...]
    complete: bool
