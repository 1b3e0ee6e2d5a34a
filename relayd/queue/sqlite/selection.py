"""Finds what a command is to touch: deliveries by their ids or by what they are, oldest first."""

import json
from collections.abc import Sequence

from relayd.core.delivery import delivery_seq
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.snapshot_values import ListedDelivery, Named
from relayd.queue.sqlite.deliveries import load
from relayd.queue.sqlite.details import deliveries_of
from relayd.queue.sqlite.namesakes import find_event
from relayd.queue.sqlite.query_plan import conditions_on_events, query_for
from relayd.queue.sqlite.read_only import Reading

_NO_LIMIT = 2**62

_LACKS = """
NOT EXISTS (SELECT 1 FROM deliveries d
  WHERE d.event_seq = e.seq AND d.subscription_id = :subscription)"""


def find_named(
    reading: Reading, identifiers: Sequence[str], market: str | None = None
) -> Named | str:
    """Return what the ids of events and deliveries stand for, or the first that is in no queue.

    Ids of events are those of `market`. Raises `SeveralMarketsError` where several have an id and
    no market is given.
    """
    deliveries: list[int] = []
    events: list[int] = []
    for identifier in identifiers:
        seq = delivery_seq(identifier, reading.tag)
        if seq is not None:
            row = reading.db.execute("SELECT 1 FROM deliveries WHERE seq = ?", (seq,)).fetchone()
            if row is not None:
                deliveries.append(seq)
                continue
        event_seq = find_event(reading, identifier, market)
        if event_seq is None:
            return identifier
        events.append(event_seq)
        deliveries += deliveries_of(reading, event_seq)
    return Named(tuple(dict.fromkeys(deliveries)), tuple(dict.fromkeys(events)))


def select(reading: Reading, wanted: DeliveryFilter, named: Named | None) -> list[int]:
    """Return the numbers of the deliveries that match, oldest first, however many there are.

    With `named`, of those alone.
    """
    if named is not None:
        return [each.seq for each in described(reading, named.deliveries) if wanted.matches(each)]
    query = query_for(reading, wanted, _NO_LIMIT)
    if query is None:
        return []
    return [seq for (seq,) in reading.db.execute(*query)][::-1]


def described(reading: Reading, seqs: Sequence[int]) -> list[ListedDelivery]:
    """Return a few deliveries as they are shown, oldest first."""
    return load(reading, seqs)[::-1]


def count_by_subscription(reading: Reading, seqs: Sequence[int]) -> dict[str, int]:
    """Return how many of these deliveries each subscription has, by name."""
    counts = dict(
        reading.db.execute(
            "SELECT subscription_id, count(*) FROM deliveries"
            " WHERE seq IN (SELECT value FROM json_each(?)) GROUP BY subscription_id",
            (json.dumps(list(seqs)),),
        )
    )
    return {
        name: counts[each.number]
        for name, each in reading.subscriptions.items()
        if each.number in counts
    }


def lacking_events(
    reading: Reading, subscription: str, wanted: DeliveryFilter, named: Named | None
) -> list[int]:
    """Return the kept events of which a subscription has no delivery, oldest first.

    Of `wanted`, the types and times count; with `named`, of those events alone.
    """
    conditions, parameters = conditions_on_events(wanted)
    parameters["subscription"] = reading.subscriptions[subscription].number
    if named is not None:
        conditions.append("e.seq IN (SELECT value FROM json_each(:events))")
        parameters["events"] = json.dumps(named.events)
    conditions += ["e.body IS NOT NULL", _LACKS]
    rows = reading.db.execute(
        f"SELECT e.seq FROM events e WHERE {' AND '.join(conditions)} ORDER BY e.seq",  # noqa: S608 - made of texts of our own
        parameters,
    )
    return [seq for (seq,) in rows]
