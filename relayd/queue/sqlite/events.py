"""Lists events, newest first, as they are shown, those that matched no subscription too."""

import json
from collections.abc import Mapping, Sequence

from relayd.core.delivery import State, shown_state
from relayd.core.hold import Hold
from relayd.queue.event_filter import EventFilter
from relayd.queue.snapshot_values import EventPage, ListedEvent
from relayd.queue.sqlite.query_plan import conditions_on_events
from relayd.queue.sqlite.read_only import Reading

_NEWEST = 5_000
"""So many events are looked through in a few milliseconds."""

# The deliveries of what is no longer kept have gone, too: whether there were any is not known.
_UNMATCHED = """
NOT EXISTS (SELECT 1 FROM deliveries d INDEXED BY deliveries_of_event WHERE d.event_seq = e.seq)
AND e.body IS NOT NULL"""

_LOAD = """
SELECT seq, id, type, market_id, accepted_at, source, sequence, object_id, body IS NOT NULL
FROM events WHERE seq IN (SELECT value FROM json_each(?)) ORDER BY seq DESC"""

_STATES = """
SELECT d.event_seq, d.state, s.hold, count(*)
FROM json_each(?) AS event
CROSS JOIN deliveries d INDEXED BY deliveries_of_event ON d.event_seq = event.value
CROSS JOIN subscriptions s ON s.id = d.subscription_id
GROUP BY d.event_seq, d.state, s.hold"""


def list_events(reading: Reading, wanted: EventFilter, limit: int) -> EventPage:
    """Return the newest events that match, at most `limit` of them."""
    conditions, parameters = conditions_on_events(wanted)
    by_index = bool(conditions)
    if wanted.market is not None:
        conditions.append("e.market_id = :market")
    if wanted.before is not None:
        conditions.append("e.seq < :before")
    if wanted.unmatched:
        conditions.append(_UNMATCHED)
    parameters |= {"market": wanted.market, "before": wanted.before, "limit": limit + 1}
    looks = _looks(reading, wanted, by_index=by_index)
    for source, after in looks:
        parameters["after"] = after
        where = " AND ".join([*conditions, "e.seq >= :after"])
        rows = reading.db.execute(
            f"SELECT e.seq FROM {source} WHERE {where} ORDER BY e.seq DESC LIMIT :limit",  # noqa: S608 - made of texts of our own
            parameters,
        )
        seqs = [seq for (seq,) in rows]
        if len(seqs) > limit:
            break
    _, after = looks[-1]
    further = len(seqs) <= limit and after > 0
    older = None if not further else _first(reading, after)
    return EventPage(
        _load(reading, seqs[:limit]), more=len(seqs) > limit or older is not None, looked_to=older
    )


def _looks(reading: Reading, wanted: EventFilter, *, by_index: bool) -> list[tuple[str, int]]:
    """Return where events are looked for, one after the other, each with the least number it looks at.

    Backwards from the newest one, a few at first, then all, or `wanted.most` of them; or through the index of
    what is listed, whole: 0.1 s for a million.
    """
    [(newest,)] = reading.db.execute("SELECT max(seq) FROM events").fetchall()
    before = (newest or 0) + 1 if wanted.before is None else wanted.before
    few = ("events e NOT INDEXED", max(0, before - _NEWEST))
    if by_index:
        return [few, ("events e INDEXED BY events_listed", 0)]
    if wanted.most is None:
        return [few, ("events e NOT INDEXED", 0)]
    return [few, ("events e NOT INDEXED", max(0, before - wanted.most))]


def _first(reading: Reading, after: int) -> ListedEvent | None:
    """Return the first event with this number or a greater one, where there are older ones."""
    rows = reading.db.execute("SELECT seq FROM events WHERE seq >= ? LIMIT 1", (after,)).fetchall()
    if (
        reading.db.execute("SELECT 1 FROM events WHERE seq < ? LIMIT 1", (after,)).fetchone()
        is None
    ):
        return None
    return next(iter(_load(reading, [seq for (seq,) in rows])), None)


def _load(reading: Reading, seqs: Sequence[int]) -> tuple[ListedEvent, ...]:
    numbers = json.dumps(list(seqs))
    states: dict[int, dict[State, int]] = {}
    for seq, stored, hold, count in reading.db.execute(_STATES, (numbers,)):
        found = states.setdefault(seq, {})
        shown = shown_state(State(stored), None if hold is None else Hold(hold))
        found[shown] = found.get(shown, 0) + count
    return tuple(
        ListedEvent(
            seq=seq,
            id=event_id,
            type=event_type,
            market_id=market,
            accepted_at=accepted_at,
            source=source,
            sequence=sequence,
            object_id=object_id,
            kept=bool(kept),
            states=_ordered(states.get(seq, {})),
        )
        for (
            seq,
            event_id,
            event_type,
            market,
            accepted_at,
            source,
            sequence,
            object_id,
            kept,
        ) in reading.db.execute(_LOAD, (numbers,))
    )


def _ordered(states: Mapping[State, int]) -> Mapping[State, int]:
    return {state: states[state] for state in State if state in states}
