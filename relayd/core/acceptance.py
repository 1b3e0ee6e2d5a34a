"""What became of an event that was handed over."""

from dataclasses import dataclass
from enum import StrEnum

from relayd.core.event import Event, Rejection, SpoolRow
from relayd.core.quarantine import POISON
from relayd.core.value import value


class Acceptance(StrEnum):
    """The queue's answer for one event."""

    ACCEPTED = "accepted"
    """It is durable, with all of its deliveries."""
    DUPLICATE = "duplicate"
    """Its market's event with this id was accepted before, with the same type and data."""
    CONFLICT = "conflict"
    """Its market's event with this id was accepted before with other content: it is refused,
    never dropped in silence."""
    POISON = "quarantined"
    """relayd died at it too often to try it again: see `core.quarantine`."""
    DEFECT = "defect"
    """relayd failed at it, and its log has the traceback."""


@value
class NewEvent:
    """A valid event with the names of the subscriptions that it goes to.

    `order_keys` has its key for each of these that orders its events: see `core.order`.
    """

    event: Event
    source: str
    subscriptions: tuple[str, ...]
    order_keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A spool's row that cannot be an event, and why."""

    source: str
    row: SpoolRow
    rejection: Rejection


def refusal(acceptance: Acceptance, event_id: str) -> Rejection | None:
    """Return why an event was not taken, or None when it was, now or before."""
    match acceptance:
        case Acceptance.CONFLICT:
            return Rejection(
                "id_conflict",
                f"the id {event_id} was accepted before in this market, with another type or other"
                " data; give each event its own id",
            )
        case Acceptance.POISON:
            return POISON
        case Acceptance.DEFECT:
            return Rejection(
                "defect", "internal error at this event; relayd's log has the traceback"
            )
        case _:
            return None
