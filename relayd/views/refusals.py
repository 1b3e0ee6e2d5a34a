"""What `replay`, `retry` and `cancel` leave as it is, and the command that does what was meant instead."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Final

from relayd.core.delivery import BACKLOG, State
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import ListedDelivery
from relayd.views.counts import deliveries_in_words
from relayd.views.holds import HOLD_ADVICE, HOLD_COMMANDS

_REPLAY: Final = "relayd replay {id}"
_RESEND: Final = "relayd replay {id} --state delivered"
_RETRY: Final = "relayd retry {id}"

_INSTEAD: Final[Mapping[tuple[str, State], tuple[str, str | None]]] = {
    ("replay", State.PENDING): ("is pending; `{instead}` attempts it now", _RETRY),
    ("replay", State.RETRYING): ("is retrying; `{instead}` attempts it now", _RETRY),
    ("replay", State.DELIVERED): ("was delivered; `{instead}` sends it again", _RESEND),
    ("retry", State.EXHAUSTED): ("is exhausted; `{instead}` sends it again", _REPLAY),
    ("retry", State.CANCELLED): ("was cancelled; `{instead}` takes that back", _REPLAY),
    ("retry", State.DELIVERED): ("was delivered; `{instead}` sends it again", _RESEND),
    ("cancel", State.EXHAUSTED): (
        "is exhausted: no attempt follows; `{instead}` sends it again",
        _REPLAY,
    ),
    ("cancel", State.CANCELLED): ("was cancelled before; `{instead}` takes that back", _REPLAY),
    ("cancel", State.DELIVERED): ("was delivered, which cannot be taken back", None),
}
"""Why a delivery in a state is not touched, and the command to give instead."""

_ATTEMPTS_NOW: Final = "`relayd retry SUBSCRIPTION` attempts what is pending now"

OTHER_STATES: Final[Mapping[str, Mapping[State, str]]] = {
    "replay": {
        State.PENDING: _ATTEMPTS_NOW,
        State.RETRYING: _ATTEMPTS_NOW,
        State.HELD: "`relayd resume SUBSCRIPTION` ends a hold",
    },
    "cancel": {
        State.EXHAUSTED: "no attempt follows an exhausted one; `relayd cancel ID` gives up one that"
        " blocks others in their order",
        State.CANCELLED: "it is cancelled already; `relayd replay` takes that back",
        State.DELIVERED: "what was delivered cannot be taken back",
    },
}
"""By command, the states that its `--state` does not take, and what to do instead."""


def instead_of(command: str, delivery: ListedDelivery) -> str | None:
    """Return the command that does to a delivery what was meant; None where there is none."""
    if delivery.hold is not None and command != "cancel":
        found = HOLD_COMMANDS[delivery.hold]
        return None if found is None else found.format(name=delivery.subscription)
    if delivery.place is not None and delivery.place.behind is not None and command != "cancel":
        return f"relayd explain {delivery.place.first}"
    _, found = _INSTEAD.get((command, delivery.state), ("", f"relayd {command} {{id}}"))
    return None if found is None else found.format(id=delivery.id)


def refusal_line(command: str, delivery: ListedDelivery) -> str:
    """Return why a delivery that was named is not touched, and what to do instead."""
    if delivery.hold is not None and command != "cancel":
        words = f"is held: {HOLD_ADVICE[delivery.hold].format(name=delivery.subscription)}"
    elif delivery.place is not None and delivery.place.behind is not None and command != "cancel":
        first = delivery.place.first
        words = (
            f"is behind {delivery.place.behind} in its order; `relayd explain {first}` says what"
            " comes first"
        )
    else:
        words, _ = _INSTEAD.get(
            (command, delivery.state),
            # It could be, but the options leave it out.
            (f"is {delivery.state.value}, which the options leave out: `{{instead}}`", None),
        )
        words = words.format(instead=instead_of(command, delivery))
    return f"{delivery.id} to {delivery.subscription} {words}."


def refusal_document(command: str, delivery: ListedDelivery) -> dict[str, object]:
    """Return the same for programs."""
    return {
        "id": delivery.id,
        "subscription": delivery.subscription,
        "state": delivery.state,
        "hold": delivery.hold,
        "instead": instead_of(command, delivery),
    }


def other_ways(
    reading: Snapshot, command: str, wanted: DeliveryFilter, names: Sequence[str]
) -> list[str]:
    """Return, for subscriptions of which nothing can be touched, which command may be meant."""
    return [line for name in names for line in _other_ways(reading, command, wanted, name)]


def _other_ways(
    reading: Snapshot, command: str, wanted: DeliveryFilter, name: str
) -> Iterator[str]:
    def count(*states: State) -> int:
        meant = replace(wanted, subscriptions=(name,), states=frozenset(states))
        return len(reading.select(meant, None))

    hold = reading.subscriptions[name].hold
    if command == "replay" and (backlog := count(*BACKLOG)):
        many = deliveries_in_words(backlog)
        if hold is not None:
            yield f"{name} has {many} held: {HOLD_ADVICE[hold].format(name=name)}."
        else:
            yield f"{name} has {many} pending: `relayd retry {name}` attempts them now."
    if command != "cancel":
        for state in (State.EXHAUSTED, State.CANCELLED):
            if state not in wanted.states and (ended := count(state)):
                many = f"{deliveries_in_words(ended)} {state.value}"
                yield f"{name} has {many}: `relayd replay {name} --state {state.value}`."
        delivered = replace(wanted, subscriptions=(name,), states=frozenset({State.DELIVERED}))
        if (
            State.DELIVERED not in wanted.states
            and reading.list_deliveries(delivered, 1).deliveries
        ):
            yield (
                f"To send again what was delivered to {name}:"
                f" `relayd replay {name} --state delivered --since TIME`."
            )
