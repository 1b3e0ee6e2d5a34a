"""One state of the queue's file, whatever is written meanwhile: see `queue.snapshot.Snapshot`."""

from __future__ import annotations  # few commands need the feed

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from relayd.core.endpoint import Health
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.event_filter import EventFilter
from relayd.queue.overview_values import Failures, Hour, Overview, Totals
from relayd.queue.snapshot_values import (
    EventDetail,
    EventPage,
    KnownSubscription,
    ListedDelivery,
    ListedInput,
    Named,
    Page,
    RejectedInput,
    RemovedInput,
)
from relayd.queue.sqlite import deliveries, details, overview, selection
from relayd.queue.sqlite.health import read_health
from relayd.queue.sqlite.namesakes import find_event
from relayd.queue.sqlite.read_only import Reading

if TYPE_CHECKING:
    from relayd.core.feed import FeedCursor, FeedPage, FeedWish


class SQLiteSnapshot:
    """A read transaction. It is valid until the block ends in which it was opened."""

    def __init__(self, reading: Reading, path: Path) -> None:
        self._reading = reading
        self._path = path

    @property
    def tag(self) -> str:
        """What this queue's deliveries have in their ids."""
        return self._reading.tag

    @property
    def subscriptions(self) -> Mapping[str, KnownSubscription]:
        """The subscriptions that the queue knows, by name."""
        return self._reading.subscriptions

    def list_deliveries(self, wanted: DeliveryFilter, limit: int) -> Page:
        """Return the newest deliveries that match, at most `limit` of them."""
        return deliveries.list_deliveries(self._reading, wanted, limit)

    def list_events(self, wanted: EventFilter, limit: int) -> EventPage:
        """Return the newest events that match, at most `limit` of them."""
        from relayd.queue.sqlite import events  # noqa: PLC0415 - few commands need it

        return events.list_events(self._reading, wanted, limit)

    def event_number(self, identifier: str, market: str | None = None) -> int | None:
        """Return an event's number, by which it is listed, or None where there is none."""
        return find_event(self._reading, identifier, market)

    def described(self, seqs: Sequence[int]) -> list[ListedDelivery]:
        """Return a few deliveries as they are shown, oldest first."""
        return selection.described(self._reading, seqs)

    def find(self, identifier: str, market: str | None = None) -> EventDetail | None:
        """Return the event with this id, or the event of the delivery with this id and that alone."""
        return details.find(self._reading, identifier, market)

    def find_named(self, identifiers: Sequence[str], market: str | None = None) -> Named | str:
        """Return what ids stand for, or the first that is in no queue."""
        return selection.find_named(self._reading, identifiers, market)

    def select(self, wanted: DeliveryFilter, named: Named | None) -> list[int]:
        """Return the numbers of the deliveries that match, oldest first; with `named`, of those."""
        return selection.select(self._reading, wanted, named)

    def count_by_subscription(self, seqs: Sequence[int]) -> dict[str, int]:
        """Return how many of these deliveries each subscription has, by name."""
        return selection.count_by_subscription(self._reading, seqs)

    def lacking_events(
        self, subscription: str, wanted: DeliveryFilter, named: Named | None
    ) -> list[int]:
        """Return the kept events of which a subscription has no delivery, oldest first."""
        return selection.lacking_events(self._reading, subscription, wanted, named)

    def overview(self, *, now: float, since: float | None = None, tallied: bool = True) -> Overview:
        """Return how everything stands, with what is counted since a time in Unix seconds."""
        return overview.read_overview(
            self._reading, self._path, now=now, since=since, tallied=tallied
        )

    def totals(self) -> Totals:
        """Return what was ever attempted, accepted and rejected."""
        from relayd.queue.sqlite import totals  # noqa: PLC0415 - few commands need it

        return totals.read_totals(self._reading.db)

    def hours(self, *, now: float) -> Mapping[str, Sequence[Hour]]:
        """Return the attempts of the last 24 to 25 hours, hour by hour, of each endpoint by URL."""
        from relayd.queue.sqlite import statistics  # noqa: PLC0415 - few commands need it

        return statistics.read_hours(self._reading.db, now=now)

    def failures(self, *, since: float, until: float) -> Failures:
        """Count the failed attempts between two times in Unix seconds, by hour and cause."""
        from relayd.queue.sqlite import failures  # noqa: PLC0415 - few commands need it

        return failures.read_failures(self._reading, since=since, until=until)

    def health(self) -> Mapping[str, Health]:
        """Return what was last known of each endpoint, by URL."""
        return read_health(self._reading.db)

    def count_due(self, *, now: float) -> dict[str, int]:
        """Return how many deliveries are due at each URL, of those that are not held."""
        return overview.count_due(self._reading, now=now)

    def list_rejected(self, *, limit: int) -> list[ListedInput]:
        """Return rejected rows, the newest first."""
        from relayd.queue.sqlite import rejected  # noqa: PLC0415 - few commands need it

        return rejected.list_rejected(self._reading.db, limit=limit)

    def removed_for_limit(self) -> list[RemovedInput]:
        """Return what was removed of rejected input for its source's limit, by source and code."""
        from relayd.queue.sqlite import rejected_limit  # noqa: PLC0415 - as above

        return rejected_limit.read_removed(self._reading.db)

    def rejected(self, seq: int) -> RejectedInput | None:
        """Return one rejected row, or None where there is none."""
        from relayd.queue.sqlite import rejected  # noqa: PLC0415 - as above

        return rejected.read_rejected(self._reading.db, seq)

    def find_rejected(self, event_id: str) -> ListedInput | None:
        """Return the latest rejected row with this id, or None where there is none."""
        from relayd.queue.sqlite import rejected  # noqa: PLC0415 - as above

        return rejected.find_rejected(self._reading.db, event_id)

    def feed(self, after: FeedCursor | None, wish: FeedWish) -> FeedPage:
        """Return kept events behind a cursor, oldest first; without one, from the oldest on."""
        from relayd.queue.sqlite import feed  # noqa: PLC0415 - as above

        return feed.read_page(self._reading, after, wish)

    def newest_sequence(self) -> int:
        """Return the greatest sequence number that an event was given, 0 where there was none."""
        from relayd.queue.sqlite import sequences  # noqa: PLC0415 - as above

        return sequences.last_sequence(self._reading.db)
