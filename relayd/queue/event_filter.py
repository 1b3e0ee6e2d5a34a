"""Which events are meant: what a query for events asks."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events to list; an empty field lets all through.

    `types` are patterns of event types. An event was accepted at `since` or later, and before
    `until` (Unix seconds), is about the object with the id `object_id`, is of `market`, and, with
    `unmatched`, went to no subscription. `before` is an event's number: only older ones are listed.

    `most` events are looked at, where no index helps; None looks at all.
    """

    types: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    object_id: str | None = None
    market: str | None = None
    unmatched: bool = False
    before: int | None = None
    most: int | None = None
