"""Which deliveries are meant, and whether one of them is: what a query asks, in Python."""

from dataclasses import dataclass

from relayd.core.delivery import State
from relayd.core.patterns import pattern_matches
from relayd.queue.snapshot_values import ListedDelivery


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries to list; an empty field lets all through.

    `subscriptions` are names that the queue knows. `states` are shown ones: `held` is for what
    waits for its subscription, `pending` and `retrying` then leave that out. `types` are patterns
    of event types. The event was accepted at `since` or later, and before `until` (Unix seconds).
    `before` is a delivery's number: only older ones are listed. `object_id` is the event's: see
    `core.object_id`.
    """

    subscriptions: tuple[str, ...] = ()
    states: frozenset[State] = frozenset()
    types: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    before: int | None = None
    object_id: str | None = None

    def matches(self, delivery: ListedDelivery) -> bool:
        """Tell whether a delivery is one that would be listed; `before` is not looked at."""
        return (
            (not self.subscriptions or delivery.subscription in self.subscriptions)
            and (not self.states or delivery.state in self.states)
            and (not self.types or any(_is_type(each, delivery) for each in self.types))
            and (self.since is None or delivery.accepted_at >= self.since)
            and (self.until is None or delivery.accepted_at < self.until)
            and (self.object_id is None or delivery.object_id == self.object_id)
        )


def _is_type(pattern: str, delivery: ListedDelivery) -> bool:
    # As listing has it: `*` is every type, relayd's own too, since nothing is sent by asking.
    return pattern == "*" or pattern_matches(pattern, delivery.event_type)
