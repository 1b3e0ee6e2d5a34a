"""Which deliveries `replay`, `retry` and `cancel` are about, whoever asks: ids, or a filter."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from relayd.core.delivery import BACKLOG, State
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import ListedDelivery, Named

REPLAYABLE: Final = (State.EXHAUSTED, State.CANCELLED)

_MEANT: Final[Mapping[str, tuple[Sequence[State], Sequence[State]]]] = {
    "replay": (REPLAYABLE[:1], REPLAYABLE),
    "retry": (BACKLOG, BACKLOG),
    "cancel": (BACKLOG, BACKLOG),
}
"""The states that a command is about where none is said: of what a filter finds, and of what is named by id."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Deliveries to touch, oldest first, and how many each subscription has.

    `named` is what was named by id, None where nothing was. `others` are deliveries with such ids that
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
    """Find what a command is about."""
    by_filter, by_id = _MEANT[command]
    states = wanted.states or frozenset(by_filter if named is None else by_id)
    seqs = reading.select(replace(wanted, states=states), named)
    touched = set(seqs)
    others = [seq for seq in (named.deliveries if named else ()) if seq not in touched]
    selection = Selection(
        seqs=seqs,
        counts=reading.count_by_subscription(seqs),
        subscriptions=tuple(wanted.subscriptions),
        named=named,
        others=reading.described(others),
    )
    return _with_blocking(selection) if command == "cancel" else selection


def _with_blocking(selection: Selection) -> Selection:
    """Add those that are named by id, exhausted, and hold others in their order."""
    blocking = list(filter(_blocks, selection.others))
    counts = Counter(selection.counts)
    counts.update(each.subscription for each in blocking)
    return replace(
        selection,
        seqs=sorted([*selection.seqs, *(each.seq for each in blocking)]),
        counts=counts,
        others=[each for each in selection.others if not _blocks(each)],
    )


def _blocks(delivery: ListedDelivery) -> bool:
    return delivery.state is State.EXHAUSTED and delivery.place is not None
