"""The values that a snapshot of the queue returns. Times are Unix seconds."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from relayd.core.delivery import State
from relayd.core.hold import Hold

if TYPE_CHECKING:
    from relayd.core.event import SpoolRow  # takes long to load, and few commands need it


class QueueUnreadableError(Exception):
    """There is no queue to read from; says why and what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


@dataclass(frozen=True, slots=True)
class KnownSubscription:
    """A subscription as the queue knows it: configured now, or once. `number` is the queue's own."""

    number: int
    name: str
    url: str = field(repr=False)  # its path may be a secret
    hold: Hold | None


@dataclass(frozen=True, slots=True)
class ListedDelivery:
    """One delivery as it is shown. All times are Unix seconds.

    `hold` is why its subscription is held, where it waits for that. `changed_at` is when its state
    was decided: when it was made, replayed, ended, or last put off. `due_at` is when its next
    attempt may start, as its endpoint stands now; None where it has ended or is held. The `last_`
    fields are those of the latest attempt, None where there was none; `last_status`,
    `last_failure` and `last_cause` may be None for themselves. `recovery_used` says that the endpoint's recovery
    releases it no more before its scheduled time: see `core.release`. `object_id` and `sequence` are its
    event's. `place` is its place in its subscription's order, None where it is in none.
    """

    seq: int
    id: str
    event_id: str
    event_type: str
    market_id: str
    subscription: str
    state: State
    hold: Hold | None
    attempts: int
    accepted_at: float
    changed_at: float
    due_at: float | None
    ended_at: float | None
    last_started_at: float | None
    last_status: int | None
    last_failure: str | None
    recovery_used: bool = False
    object_id: str | None = field(default=None, repr=False)
    sequence: int = 0
    place: "Place | None" = None
    last_cause: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A delivery's place among those with the same key, which are sent one after the other.

    `behind` is the id of the delivery before it, and `first` that of the first of them, whose turn
    it is; None where it is its own turn.
    """

    key: str = field(repr=False)
    behind: str | None
    first: str | None


@dataclass(frozen=True, slots=True)
class ListedEvent:
    """An event as it is listed. `accepted_at` is in Unix seconds.

    `market_id` is "" where an older relayd kept the id alone. `kept` is False once the retention
    has left its id alone. `states` counts its deliveries by their states as they are shown.
    """

    seq: int
    id: str
    type: str
    market_id: str
    accepted_at: float
    source: str
    sequence: int
    object_id: str | None = field(repr=False)
    kept: bool
    states: Mapping[State, int]


@dataclass(frozen=True, slots=True)
class EventPage:
    """The events of one page, newest first, and whether there are older ones that match.

    `looked_to` is the oldest that was looked at, where `EventFilter.most` left older ones out: then `more` is
    true, since they may match.
    """

    events: tuple[ListedEvent, ...]
    more: bool
    looked_to: ListedEvent | None = None

    @property
    def last(self) -> ListedEvent | None:
        """The event before which the next page begins; None where there is none."""
        return self.looked_to or (self.events[-1] if self.more else None)


@dataclass(frozen=True, slots=True)
class Page:
    """The deliveries of one page, newest first, and whether there are older ones that match."""

    deliveries: tuple[ListedDelivery, ...]
    more: bool


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt as it was recorded. `started_at` is in Unix seconds.

    `failure` is None where it succeeded, and so is `cause`, which is a `Cause`, or the failure itself
    where nothing more is known; `subject` is what that is about (see `core.outcome`). `answer` is the
    beginning of the answer's body; `extra` says why it was made before its scheduled time.
    """

    number: int
    started_at: float
    duration_s: float
    status: int | None
    failure: str | None
    detail: str | None
    answer: bytes = field(repr=False)
    extra: str | None = None
    cause: str | None = None
    subject: str = ""


@dataclass(frozen=True, slots=True)
class DeliveryDetail:
    """A delivery with its attempts, oldest first."""

    delivery: ListedDelivery
    attempts: tuple[Attempt, ...]


@dataclass(frozen=True, slots=True)
class KeptWebhook:
    """What an inbound event was made of. `key` names the provider and its id.

    `raw` is the body as it came, and `headers` a JSON object of some of its headers. Both are None where it
    was large, or the retention has left the event's id alone.
    """

    key: str
    raw_bytes: int
    raw_sha256: bytes
    headers: str | None = field(repr=False)
    raw: bytes | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class EventDetail:
    """An event with its deliveries, or the one that was asked for. Times are Unix seconds.

    `market_id` is "" where an older relayd kept the id alone. `body` is what every attempt sends; None once the retention has left its id alone.
    `webhook` is what an inbound one was made of.
    """

    id: str
    type: str
    market_id: str
    created: int
    accepted_at: float
    source: str
    body: bytes | None = field(repr=False)
    deliveries: tuple[DeliveryDetail, ...]
    sequence: int = 0
    object_id: str | None = field(default=None, repr=False)
    webhook: KeptWebhook | None = None


@dataclass(frozen=True, slots=True)
class Namesake:
    """An event with an id that others have, too. `accepted_at` is in Unix seconds.

    `market_id` is "" where an older relayd kept the id alone.
    """

    seq: int
    market_id: str
    type: str
    accepted_at: float
    source: str


class SeveralMarketsError(Exception):
    """Several markets have an event with this id, and which is meant was not said."""

    def __init__(self, identifier: str, events: tuple[Namesake, ...]) -> None:
        super().__init__(identifier)
        self.identifier = identifier
        self.events = events


@dataclass(frozen=True, slots=True)
class Named:
    """Deliveries that ids stand for, and the events among those ids."""

    deliveries: tuple[int, ...]
    events: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ListedInput:
    """A rejected row as it is listed. `rejected_at` is in Unix seconds."""

    seq: int
    source: str
    rejected_at: float
    code: str
    reason: str


@dataclass(frozen=True, slots=True)
class RemovedInput:
    """Rejected input of one source that was removed for the limit, by code. Times are Unix seconds."""

    source: str
    code: str
    count: int
    bytes: int
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class Look:
    """What a look found: deliveries as they stand now, in the order of their changes.

    `missed` is how many changes were forgotten before they were looked at. `more` says that more
    can be had at once.
    """

    deliveries: tuple[ListedDelivery, ...] = ()
    missed: int = 0
    more: bool = False


@dataclass(frozen=True, slots=True)
class RejectedInput:
    """A rejected row whole, as it was found: text as bytes. `rejected_at` is in Unix seconds.

    `webhook` is a JSON object where the row's data is the raw body of a webhook: its `key`, `token` and
    `headers`.
    """

    seq: int
    source: str
    rejected_at: float
    code: str
    reason: str
    row: "SpoolRow"
    fingerprint: bytes = field(repr=False)
    webhook: str | None = field(default=None, repr=False)
