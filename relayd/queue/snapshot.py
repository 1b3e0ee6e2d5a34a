"""The queue's border for a process that reads it beside its daemon, or without one.

As in `queue.interface`, no connection, row or SQL is in any signature.
"""

from __future__ import annotations  # a command that only reads loads none of what is named here

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from contextlib import AbstractContextManager

    from relayd.core.endpoint import Health
    from relayd.core.feed import FeedCursor, FeedPage, FeedWish
    from relayd.queue.delivery_filter import DeliveryFilter
    from relayd.queue.event_filter import EventFilter
    from relayd.queue.overview_values import Failures, Hour, Overview, Totals
    from relayd.queue.snapshot_values import (
        EventDetail,
        EventPage,
        KnownSubscription,
        ListedDelivery,
        ListedInput,
        Look,
        Named,
        Page,
        RejectedInput,
        RemovedInput,
    )


class Snapshot(Protocol):
    """One state of the queue, whatever is written meanwhile."""

    @property
    def tag(self) -> str:
        """What this queue's deliveries have in their ids."""

    @property
    def subscriptions(self) -> Mapping[str, KnownSubscription]:
        """The subscriptions that the queue knows, by name."""

    def list_deliveries(self, wanted: DeliveryFilter, limit: int) -> Page:
        """Return the newest deliveries that match, at most `limit` of them.

        Raises KeyError for a subscription that the queue does not know.
        """

    def list_events(self, wanted: EventFilter, limit: int) -> EventPage:
        """Return the newest events that match, at most `limit` of them."""

    def event_number(self, identifier: str, market: str | None = None) -> int | None:
        """Return an event's number, by which it is listed, or None where there is none.

        Raises `SeveralMarketsError`, as `find` does.
        """

    def described(self, seqs: Sequence[int]) -> list[ListedDelivery]:
        """Return a few deliveries as they are shown, oldest first."""

    def find(self, identifier: str, market: str | None = None) -> EventDetail | None:
        """Return the event with this id, or the event of the delivery with this id and that alone.

        Raises `SeveralMarketsError` where several have the id and no market is given.
        """

    def find_named(self, identifiers: Sequence[str], market: str | None = None) -> Named | str:
        """Return what ids stand for, or the first that is in no queue.

        Raises `SeveralMarketsError`, as `find` does.
        """

    def select(self, wanted: DeliveryFilter, named: Named | None) -> list[int]:
        """Return the numbers of the deliveries that match, oldest first; with `named`, of those."""

    def count_by_subscription(self, seqs: Sequence[int]) -> dict[str, int]:
        """Return how many of these deliveries each subscription has, by name."""

    def lacking_events(
        self, subscription: str, wanted: DeliveryFilter, named: Named | None
    ) -> list[int]:
        """Return the kept events of which a subscription has no delivery, oldest first."""

    def overview(self, *, now: float, since: float | None = None, tallied: bool = True) -> Overview:
        """Return how everything stands. `now` and `since`, for what is counted from then on, are Unix seconds.

        Without `tallied`, the tallies and `inbound` are empty: they take longer than all else.
        """

    def totals(self) -> Totals:
        """Return what was ever attempted, accepted and rejected."""

    def hours(self, *, now: float) -> Mapping[str, Sequence[Hour]]:
        """Return the attempts of the last 24 to 25 hours, hour by hour, of each endpoint by URL."""

    def failures(self, *, since: float, until: float) -> Failures:
        """Count the failed attempts between two times in Unix seconds, by hour and cause: see `Failures`."""

    def health(self) -> Mapping[str, Health]:
        """Return what was last known of each endpoint, by URL."""

    def count_due(self, *, now: float) -> dict[str, int]:
        """Return how many deliveries are due at each URL, of those that are not held."""

    def list_rejected(self, *, limit: int) -> list[ListedInput]:
        """Return rejected rows, the newest first."""

    def removed_for_limit(self) -> list[RemovedInput]:
        """Return what was removed of rejected input for its source's limit, by source and code."""

    def rejected(self, seq: int) -> RejectedInput | None:
        """Return one rejected row, or None where there is none."""

    def find_rejected(self, event_id: str) -> ListedInput | None:
        """Return the latest rejected row with this id, or None where there is none."""

    def feed(self, after: FeedCursor | None, wish: FeedWish) -> FeedPage:
        """Return kept events behind a cursor, oldest first; without one, from the oldest on.

        Raises `FeedGapError` where one of them is gone, or the cursor is of another queue.
        """

    def newest_sequence(self) -> int:
        """Return the greatest sequence number that an event was given, 0 where there was none."""


class ChangeFeed(Protocol):
    """The deliveries that change from the moment on at which it was opened."""

    def look(self) -> Look:
        """Return what changed since the look before. Raises `QueueUnreadableError`."""

    def snapshot(self) -> AbstractContextManager[Snapshot]:
        """Show the queue as it is now until the end of the block."""


class QueueReader(Protocol):
    """The queue as a process reads it beside its daemon, or without one. It writes nothing.

    Both raise `QueueUnreadableError`, also for what goes wrong inside their blocks.
    """

    def snapshot(self, *, limit_s: float | None = None) -> AbstractContextManager[Snapshot]:
        """Show the queue as it is now until the end of the block, which may take `limit_s` seconds."""

    def changes(self) -> AbstractContextManager[ChangeFeed]:
        """Follow the queue's deliveries until the end of the block."""
