"""Which deliveries `replay`, `retry` and `cancel` touch, of those that ids or a filter name.

One rule for the command line and the web process: what each command may touch is in `TOUCHED`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from relayd.core.delivery import BACKLOG, State
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import ListedDelivery, Named


@dataclass(frozen=True, slots=True)
class Touched:
    """The states that a command means where none is given: of deliveries named by id, and of others."""

    named: Sequence[State]
    unnamed: Sequence[State]


REPLAYABLE: Final = (State.EXHAUSTED, State.CANCELLED)

TOUCHED: Final[Mapping[str, Touched]] = {
    "replay": Touched(REPLAYABLE, REPLAYABLE[:1]),
    "retry": Touched(BACKLOG, BACKLOG),
    "cancel": Touched(BACKLOG, BACKLOG),
}


@dataclass(frozen=True, slots=True)
class Selection:
    """Deliveries to touch, oldest first, and how many each subscription has.

    `named` is what is named by id, None where nothing is. `others` are deliveries with such ids that
    cannot be touched.
    """

    seqs: Sequence[int]
    counts: Mapping[str, int]
    subscriptions: tuple[str, ...]
    named: Named | None
    others: Sequence[ListedDelivery]


def select_for(
    command: str, reading: Snapshot, wanted: DeliveryFilter, named: Named | None
) -> Selection:
    """Return what a command touches of what is `wanted`, and with `named`, of these alone.

    Where `wanted` has no state, it means those of `TOUCHED`.
    """
    states = TOUCHED[command]
    default = frozenset(states.unnamed if named is None else states.named)
    meant = replace(wanted, states=wanted.states or default)
    seqs = reading.select(meant, named)
    touched = set(seqs)
    others = [seq for seq in (named.deliveries if named else ()) if seq not in touched]
    found = Selection(
        seqs=seqs,
        counts=reading.count_by_subscription(seqs),
        subscriptions=meant.subscriptions,
        named=named,
        others=reading.described(others),
    )
    return _with_blocking(found) if command == "cancel" else found


def _with_blocking(selection: Selection) -> Selection:
    """Add those that are named by id, exhausted, and hold others in their order."""
    blocking = [
        each
        for each in selection.others
        if each.state is State.EXHAUSTED and each.place is not None
    ]
    counts = Counter(selection.counts)
    counts.update(each.subscription for each in blocking)
    return replace(
        selection,
        seqs=sorted([*selection.seqs, *(each.seq for each in blocking)]),
        counts=counts,
        others=[each for each in selection.others if each not in blocking],
    )
