"""Which deliveries are in flight: the queue's file does not hold that, the running daemon says it."""

from collections.abc import Mapping
from dataclasses import dataclass

from relayd.queue.listing import ListedDelivery


@dataclass(frozen=True, slots=True)
class InFlight:
    """Where an attempt of a delivery is in flight: at `endpoint`, a URL without its path.

    `left` says that its subscription has another URL by now.
    """

    endpoint: str
    left: bool

    @property
    def words(self) -> str:
        """That it is in flight, in words."""
        words = f"an attempt is in flight at {self.endpoint}"
        if self.left:
            words += ", a URL that its subscription has left"
        return words


def in_flight_document(
    delivery: ListedDelivery, in_flight: Mapping[int, InFlight] | None
) -> dict[str, object]:
    """Return what is known of a delivery under the keys of its document, null where it is not."""
    place = None if in_flight is None else in_flight.get(delivery.seq)
    return {
        "in_flight": None if in_flight is None else place is not None,
        "in_flight_at": None if place is None else place.endpoint,
        "in_flight_at_old_url": None if place is None else place.left,
    }
