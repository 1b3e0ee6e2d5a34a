"""What became of an event that was handed over."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from relayd.core.event import Event, Rejection, SpoolRow
from relayd.core.quarantine import POISON
from relayd.core.value import value
from relayd.core.webhook import Webhook


class Acceptance(StrEnum):
    """The queue's answer for one event."""

    ACCEPTED = "accepted"
    """It is durable, with all of its deliveries."""
    DUPLICATE = "duplicate"
    """Its market's event with this id was accepted before, with the same type and data; or this very
    row was, when its spool had another market."""
    CONFLICT = "conflict"
    """Its market's event with this id was accepted before with other content: it is refused,
    never dropped in silence."""
    TOKEN_REUSED = "token_reused"  # noqa: S105 - what became of it
    """The token of its signature came with another event before: it is refused."""
    POISON = "quarantined"
    """relayd died at it too often to try it again: see `core.quarantine`."""
    DEFECT = "defect"
    """relayd failed at it, and its log has the traceback."""


@value
class NewEvent:
    """A valid event with the names of the subscriptions that it goes to.

    `order_keys` has its key for each of these that orders its events: see `core.order`. `webhook` is what
    an inbound one was made of. `market_bound`: its source gives each event the same market, so that it is
    known whatever market its source had before.
    """

    event: Event
    source: str
    subscriptions: tuple[str, ...]
    order_keys: tuple[tuple[str, str], ...] = ()
    webhook: Webhook | None = None
    market_bound: bool = False


@dataclass(frozen=True, slots=True)
class KnownRow:
    """By what a row of a source is known, whatever its market: its event's id, time and digest."""

    id: str
    created: int
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A spool's row, or a webhook's body, that cannot be an event, and why.

    Of a webhook, `row` has the provider's id and the raw body as `id` and `data`. `known_as` is what the
    row is known by where only its market is wrong: it may have been accepted when that was right.
    """

    source: str
    row: SpoolRow
    rejection: Rejection
    webhook: Webhook | None = None
    known_as: KnownRow | None = None


@dataclass(frozen=True, slots=True)
class Rejected:
    """What became of rows that cannot be events: which are `new` on the rejected list.

    `refused` are webhooks whose token came with something else before, `duplicates` those of which an
    event was accepted before, whatever their bodies are now: nothing of them is kept.
    """

    new: Sequence[RejectedRow]
    refused: Sequence[RejectedRow] = ()
    duplicates: Sequence[RejectedRow] = ()


TOKEN_REUSED: Final = Rejection(
    "token_reused", "the token of its signature came with something else before"
)


def refusal(acceptance: Acceptance, event_id: str) -> Rejection | None:
    """Return why an event was not taken, or None when it was, now or before."""
    match acceptance:
        case Acceptance.CONFLICT:
            return Rejection(
                "id_conflict",
                f"the id {event_id} was accepted before in this market, with another type or other"
                " data; give each event its own id",
            )
        case Acceptance.TOKEN_REUSED:
            return TOKEN_REUSED
        case Acceptance.POISON:
            return POISON
        case Acceptance.DEFECT:
            return Rejection(
                "defect", "internal error at this event; relayd's log has the traceback"
            )
        case _:
            return None
