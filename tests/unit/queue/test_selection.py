"""Finding what `replay` and `cancel` are to touch."""

from pathlib import Path

import pytest
from written_queue import START

from relayd.core.delivery import State
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.snapshot_values import Named
from relayd.queue.sqlite.read_only import Reading
from relayd.queue.sqlite.selection import (
    count_by_subscription,
    described,
    find_named,
    lacking_events,
    select,
)

ENDED = frozenset({State.DELIVERED, State.EXHAUSTED})


def test_ids_stand_for_deliveries(reading: Reading, path: Path) -> None:
    tag = reading.tag
    assert find_named(reading, ["evt_3"]) == Named((4, 5), (4,))
    assert find_named(reading, [f"dlv_{tag}_5", "evt_3"]) == Named((5, 4), (4,))
    assert find_named(reading, [f"dlv_{tag}_2"]) == Named((2,), ())
    assert find_named(reading, ["evt_0", "evt_9"]) == "evt_9"
    assert find_named(reading, [f"dlv_{tag}_99"]) == f"dlv_{tag}_99"


@pytest.mark.parametrize(
    ("wanted", "seqs"),
    [
        (DeliveryFilter(), [1, 2, 3, 4, 5]),
        (DeliveryFilter(states=ENDED), [1, 3, 5]),
        (DeliveryFilter(subscriptions=("shop",)), [1, 2, 5]),
        (DeliveryFilter(types=("payment.*",)), [2]),
        (DeliveryFilter(types=("*",), since=START + 100), [2, 3, 4, 5]),
        (DeliveryFilter(until=START + 200), [1, 2]),
    ],
)
def test_by_name_or_by_filter_the_same_match(
    reading: Reading, wanted: DeliveryFilter, seqs: list[int]
) -> None:
    assert select(reading, wanted, None) == seqs
    named = Named((1, 2, 3, 4, 5), ())
    assert select(reading, wanted, named) == seqs
    assert select(reading, wanted, Named((2, 3), ())) == [each for each in seqs if each in (2, 3)]
    assert select(reading, wanted, Named((), ())) == []


def test_counts_and_descriptions(reading: Reading) -> None:
    assert count_by_subscription(reading, [1, 2, 3, 4, 5]) == {"books": 2, "shop": 3}
    assert count_by_subscription(reading, []) == {}
    assert [each.seq for each in described(reading, [5, 1])] == [1, 5]


def test_events_of_which_a_subscription_has_nothing(reading: Reading) -> None:
    assert lacking_events(reading, "books", DeliveryFilter(), None) == [1, 2]
    assert lacking_events(reading, "shop", DeliveryFilter(), None) == [3]
    lately = DeliveryFilter(since=START + 50)
    assert lacking_events(reading, "books", lately, None) == [2]
    assert lacking_events(reading, "books", DeliveryFilter(types=("order.*",)), None) == [1]
    assert lacking_events(reading, "books", DeliveryFilter(), Named((), (2, 3))) == [2]
