"""What a command is about, of what was named by id."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, cast

import pytest
from listed_deliveries import RETRYING

from relayd.core.delivery import State
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.selection import select_for
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import ListedDelivery, Named, Place

PLACE = Place("key", None, None)
STATES = [State.PENDING, State.EXHAUSTED, State.DELIVERED]
DELIVERIES = {
    number: replace(
        RETRYING,
        seq=number,
        state=STATES[number % 3],
        place=PLACE if number % 2 else None,
        subscription=f"shop{number % 2}",
    )
    for number in range(1, 61)
}


class Reading:
    """What a selection asks of a snapshot."""

    def select(self, wanted: DeliveryFilter, named: Named) -> list[int]:
        return [seq for seq in sorted(named.deliveries) if wanted.matches(DELIVERIES[seq])]

    def count_by_subscription(self, seqs: Sequence[int]) -> dict[str, int]:
        return dict(Counter(DELIVERIES[seq].subscription for seq in seqs))

    def described(self, seqs: Sequence[int]) -> list[ListedDelivery]:
        return [DELIVERIES[seq] for seq in sorted(seqs)]


def test_cancel_is_also_for_what_blocks_others(monkeypatch: pytest.MonkeyPatch) -> None:
    def compared(*_: Any) -> bool:
        pytest.fail("each is looked at once: an event may have thousands of deliveries")

    monkeypatch.setattr(ListedDelivery, "__eq__", compared)
    named = Named(tuple(DELIVERIES), ())
    found = select_for("cancel", cast("Snapshot", Reading()), DeliveryFilter(), named)
    pending = [seq for seq in DELIVERIES if seq % 3 == 0]
    blocking = [seq for seq in DELIVERIES if seq % 3 == 1 and seq % 2]
    assert found.seqs == sorted([*pending, *blocking])
    assert found.counts == {"shop0": 10, "shop1": 20}
    assert sorted([*found.seqs, *(each.seq for each in found.others)]) == list(DELIVERIES)
    retried = select_for("retry", cast("Snapshot", Reading()), DeliveryFilter(), named)
    assert retried.seqs == pending
