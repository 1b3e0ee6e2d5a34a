"""Chooses how deliveries are found, by what an operator asks for; fast whatever the queue holds.

What drives a query is chosen here, not by SQLite, which knows nothing of how the rows are spread:

- no delivered ones: the indexes of what waits, and of what was given up;
- enough among the newest few thousand: those;
- few events of the type and time asked for: those events, then their deliveries;
- all else: backwards from the newest delivery of such an event, until there are enough.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from relayd.core.delivery import ENDED, WAITING, State, shown_state
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.event_filter import EventFilter
from relayd.queue.sqlite.read_only import Reading

_FEW_EVENTS = 20_000
"""So many events are looked up one by one in a few hundredths of a second."""

_NEWEST = 5_000
"""So many deliveries are looked through in a few milliseconds."""


_WAITING = """
(SELECT value ->> 0 AS subscription_id, value ->> 1 AS state FROM json_each(:pairs)) AS pair
CROSS JOIN deliveries d INDEXED BY deliveries_waiting
  ON d.subscription_id = pair.subscription_id AND d.state = pair.state AND d.due_at IS NOT NULL"""

_GIVEN_UP = "deliveries d INDEXED BY deliveries_given_up"
_IS_GIVEN_UP = "d.state IN ('exhausted', 'cancelled')"  # as the index has it

_OF_EVENTS = """
json_each(:events) AS event
CROSS JOIN deliveries d INDEXED BY deliveries_of_event ON d.event_seq = event.value"""

_BACKWARDS = "deliveries d NOT INDEXED"

_OF_PAIRS = """
(d.subscription_id, d.state) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:pairs))"""

_NEWEST_DELIVERY = "SELECT max(seq) FROM deliveries"

Query = tuple[str, dict[str, object]]


def query_for(reading: Reading, wanted: DeliveryFilter, limit: int) -> Query | None:
    """Return the query that finds the deliveries' numbers, or None where none can match."""
    pairs = _pairs(reading, wanted)
    if not pairs:
        return None
    on_events, parameters = conditions_on_events(wanted)
    parameters |= {"limit": limit, "pairs": json.dumps(pairs), "before": wanted.before}
    conditions = ["d.seq < :before"] if wanted.before is not None else []
    join_events = "CROSS JOIN events e ON e.seq = d.event_seq" if on_events else ""
    stored = {state for _, state in pairs}

    if wanted.states and State.DELIVERED not in stored:
        parts = []
        if stored & WAITING:
            parts.append(_part(f"{_WAITING} {join_events}", [*conditions, *on_events]))
        if stored - WAITING:
            given_up = [_IS_GIVEN_UP, _OF_PAIRS, *conditions, *on_events]
            parts.append(_part(f"{_GIVEN_UP} {join_events}", given_up))
        return _newest_of(parts), parameters
    conditions += _on_deliveries(wanted, pairs)
    source = f"{_BACKWARDS} {join_events}"
    if on_events:
        events = _few_events(reading, on_events, parameters)
        if events is not None:
            return _newest_of([_part(_OF_EVENTS, conditions)]), {
                **parameters,
                "events": json.dumps(events),
            }
        span = _span(reading, on_events, parameters)
        if span is not None:
            parameters |= {"first": span.first, "last": span.last, "newest": span.newest}
            conditions[:0] = ["d.seq <= :newest", "d.event_seq BETWEEN :first AND :last"]
    return _newest_of([_part(source, [*conditions, *on_events])]), parameters


def among_the_newest(reading: Reading, wanted: DeliveryFilter, limit: int) -> Query | None:
    """Return the query that looks through the newest deliveries alone; None where others suit."""
    pairs = _pairs(reading, wanted)
    if not pairs or (wanted.states and State.DELIVERED not in {state for _, state in pairs}):
        return None
    on_events, parameters = conditions_on_events(wanted)
    [newest] = reading.db.execute(_NEWEST_DELIVERY).fetchone()
    before = (newest or 0) + 1 if wanted.before is None else wanted.before
    parameters |= {"limit": limit, "pairs": json.dumps(pairs)}
    parameters |= {"before": before, "after": before - _NEWEST}
    conditions = ["d.seq < :before", "d.seq >= :after", *_on_deliveries(wanted, pairs), *on_events]
    join_events = "CROSS JOIN events e ON e.seq = d.event_seq" if on_events else ""
    return _newest_of([_part(f"{_BACKWARDS} {join_events}", conditions)]), parameters


def _on_deliveries(wanted: DeliveryFilter, pairs: Sequence[tuple[int, State]]) -> list[str]:
    if wanted.states:
        return [_OF_PAIRS]
    if not wanted.subscriptions:
        return []
    # As numbers in the text, which takes half as long as to look each up.
    numbers = ", ".join(str(number) for number in sorted({number for number, _ in pairs}))
    return [f"d.subscription_id IN ({numbers})"]


def _part(source: str, conditions: Sequence[str]) -> str:
    where = " AND ".join(conditions) or "TRUE"
    return f"SELECT d.seq FROM {source} WHERE {where} ORDER BY d.seq DESC LIMIT :limit"  # noqa: S608 - made of the texts above


def _newest_of(parts: Sequence[str]) -> str:
    if len(parts) == 1:
        return parts[0]
    both = " UNION ALL ".join(f"SELECT seq FROM ({part})" for part in parts)  # noqa: S608 - made of the texts above
    return f"{both} ORDER BY seq DESC LIMIT :limit"


def _pairs(reading: Reading, wanted: DeliveryFilter) -> list[tuple[int, State]]:
    """Return the pairs of a subscription's number and a stored state that are wanted."""
    chosen = [reading.subscriptions[name] for name in wanted.subscriptions]
    return [
        (each.number, stored)
        for each in chosen or reading.subscriptions.values()
        for stored in (*WAITING, *ENDED)
        if not wanted.states or shown_state(stored, each.hold) in wanted.states
    ]


def conditions_on_events(
    wanted: DeliveryFilter | EventFilter,
) -> tuple[list[str], dict[str, object]]:
    """Return what a filter asks of an event `e`, with the values."""
    conditions: list[str] = []
    parameters: dict[str, object] = {}
    if wanted.since is not None:
        conditions.append("e.accepted_at >= :since")
        parameters["since"] = wanted.since
    if wanted.until is not None:
        conditions.append("e.accepted_at < :until")
        parameters["until"] = wanted.until
    if wanted.object_id is not None:
        conditions.append("e.object_id = :object_id")
        parameters["object_id"] = wanted.object_id
    # A pattern is an exact type, or ends in `.*`, as core.matching reads it. `*` is every type here, since
    # nothing is sent by asking. Comparing takes half as long as GLOB.
    if wanted.types and "*" not in wanted.types:
        of_types = []
        for index, pattern in enumerate(wanted.types):
            parameters[f"type{index}"] = pattern.removesuffix("*")
            if pattern.endswith(".*"):
                of_types.append(f"(e.type >= :type{index} AND e.type < :end{index})")
                parameters[f"end{index}"] = f"{pattern[:-2]}/"  # what follows `.`
            else:
                of_types.append(f"e.type = :type{index}")
        conditions.append(f"({' OR '.join(of_types)})")
    return conditions, parameters


def _few_events(
    reading: Reading, conditions: Sequence[str], parameters: dict[str, object]
) -> list[int] | None:
    """Return the numbers of the events, None where they are many."""
    found = reading.db.execute(
        "SELECT e.seq FROM events e INDEXED BY events_listed"  # noqa: S608 - made of the texts above
        f" WHERE {' AND '.join(conditions)} LIMIT {_FEW_EVENTS + 1}",
        parameters,
    ).fetchall()
    return [seq for (seq,) in found] if len(found) <= _FEW_EVENTS else None


@dataclass(frozen=True, slots=True)
class _Span:
    """The numbers of the first and last of some events, and of the newest delivery of theirs."""

    first: int
    last: int
    newest: int


def _span(
    reading: Reading, conditions: Sequence[str], parameters: dict[str, object]
) -> _Span | None:
    # Both read their index alone: a tenth of a second for a million events.
    first, last = reading.db.execute(
        "SELECT min(e.seq), max(e.seq) FROM events e INDEXED BY events_listed"  # noqa: S608 - made of the texts above
        f" WHERE {' AND '.join(conditions)}",
        parameters,
    ).fetchone()
    if first is None:
        return None
    [newest] = reading.db.execute(_NEWEST_DELIVERY).fetchone()
    [newest_event] = reading.db.execute("SELECT max(seq) FROM events").fetchone()
    if newest is None or newest_event - last <= _NEWEST:
        return None if newest is None else _Span(first, last, newest)
    [newest] = reading.db.execute(
        "SELECT max(seq) FROM deliveries INDEXED BY deliveries_of_event"
        " WHERE event_seq BETWEEN ? AND ?",
        (first, last),
    ).fetchone()
    return None if newest is None else _Span(first, last, newest)
