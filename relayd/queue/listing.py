"""Lists deliveries, newest first, by what an operator asks for; fast whatever the queue holds.

What drives a query is chosen here, not by SQLite, which knows nothing of how the rows are spread:

- only waiting states: the index of what waits, however much has ended;
- few events of the type and time asked for: those events, then their deliveries;
- all else: from the newest delivery backwards, until there are enough.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass

from relayd.core.delivery import ENDED, WAITING, Hold, State, delivery_id, shown_state
from relayd.queue.reading import KnownSubscription, Reading

_FEW_EVENTS = 20_000
"""So many events are looked up one by one in a few hundredths of a second."""


@dataclass(frozen=True, slots=True)
class DeliveryFilter:
    """Which deliveries to list; an empty field lets all through.

    `subscriptions` are names that the queue knows. `states` are shown ones: `held` is for what
    waits for its subscription, `pending` and `retrying` then leave that out. `types` are patterns
    of event types. The event was accepted at `since` or later, and before `until` (Unix seconds).
    `before` is a delivery's number: only older ones are listed.
    """

    subscriptions: tuple[str, ...] = ()
    states: frozenset[State] = frozenset()
    types: tuple[str, ...] = ()
    since: float | None = None
    until: float | None = None
    before: int | None = None


@dataclass(frozen=True, slots=True)
class ListedDelivery:
    """One delivery as it is shown. All times are Unix seconds.

    `hold` is why its subscription is held, where it waits for that. `due_at` is when its next
    attempt may start, as its endpoint stands now; None where it has ended or is held. The `last_`
    fields are those of the latest attempt, None where there was none; `last_status` and
    `last_failure` may be None for themselves.
    """

    seq: int
    id: str
    event_id: str
    event_type: str
    subscription: str
    state: State
    hold: Hold | None
    attempts: int
    accepted_at: float
    due_at: float | None
    ended_at: float | None
    last_started_at: float | None
    last_status: int | None
    last_failure: str | None


@dataclass(frozen=True, slots=True)
class Page:
    """The deliveries of one page, newest first, and whether there are older ones that match."""

    deliveries: tuple[ListedDelivery, ...]
    more: bool


_WAITING = """
(SELECT value ->> 0 AS subscription_id, value ->> 1 AS state FROM json_each(:pairs)) AS pair
CROSS JOIN deliveries d INDEXED BY deliveries_waiting
  ON d.subscription_id = pair.subscription_id AND d.state = pair.state AND d.due_at IS NOT NULL"""

_OF_EVENTS = """
events e CROSS JOIN deliveries d INDEXED BY deliveries_of_event ON d.event_seq = e.seq"""

_OF_PAIRS = """
(d.subscription_id, d.state) IN (SELECT value ->> 0, value ->> 1 FROM json_each(:pairs))"""


def list_deliveries(reading: Reading, wanted: DeliveryFilter, limit: int) -> Page:
    """Return the newest deliveries that match, at most `limit` of them.

    Raises KeyError for a subscription that the queue does not know.
    """
    query = query_for(reading, wanted, limit + 1)
    if query is None:
        return Page((), more=False)
    sql, parameters = query
    seqs = [seq for (seq,) in reading.db.execute(sql, parameters)]
    return Page(tuple(load(reading, seqs[:limit])), more=len(seqs) > limit)


def query_for(
    reading: Reading, wanted: DeliveryFilter, limit: int
) -> tuple[str, dict[str, object]] | None:
    """Return the query that finds the deliveries' numbers, or None where none can match."""
    chosen = [reading.subscriptions[name] for name in wanted.subscriptions]
    pairs = _pairs(chosen or list(reading.subscriptions.values()), wanted.states)
    if not pairs:
        return None
    event_conditions, parameters = conditions_on_events(wanted)
    parameters |= {"limit": limit, "pairs": json.dumps(pairs), "before": wanted.before}
    conditions = ["d.seq < :before"] if wanted.before is not None else []
    join_events = "CROSS JOIN events e ON e.seq = d.event_seq" if event_conditions else ""

    if wanted.states and wanted.states <= WAITING | {State.HELD}:
        source = f"{_WAITING} {join_events}"
    else:
        if wanted.subscriptions or wanted.states:
            conditions.append(_OF_PAIRS)
        if event_conditions and _are_few(reading, event_conditions, parameters):
            source = _OF_EVENTS
        else:
            source = f"deliveries d NOT INDEXED {join_events}"
    where = " AND ".join([*conditions, *event_conditions]) or "TRUE"
    return (
        f"SELECT d.seq FROM {source} WHERE {where} ORDER BY d.seq DESC LIMIT :limit",  # noqa: S608 - made of the texts above
        parameters,
    )


def _pairs(
    subscriptions: Sequence[KnownSubscription], states: frozenset[State]
) -> list[tuple[int, str]]:
    """Return the pairs of a subscription's number and a stored state that are shown as `states`."""
    return [
        (each.number, stored.value)
        for each in subscriptions
        for stored in (*WAITING, *ENDED)
        if not states or shown_state(stored, each.hold) in states
    ]


def conditions_on_events(wanted: DeliveryFilter) -> tuple[list[str], dict[str, object]]:
    """Return what a filter asks of an event `e`, with the values."""
    conditions: list[str] = []
    parameters: dict[str, object] = {}
    if wanted.since is not None:
        conditions.append("e.accepted_at >= :since")
        parameters["since"] = wanted.since
    if wanted.until is not None:
        conditions.append("e.accepted_at < :until")
        parameters["until"] = wanted.until
    # A pattern is an exact type, or ends in `.*`: GLOB reads both as core.matching does. `*` is
    # every type here, since nothing is sent by asking.
    if wanted.types and "*" not in wanted.types:
        globs = [f"e.type GLOB :type{index}" for index in range(len(wanted.types))]
        conditions.append(f"({' OR '.join(globs)})")
        parameters |= {f"type{index}": pattern for index, pattern in enumerate(wanted.types)}
    return conditions, parameters


def _are_few(reading: Reading, conditions: list[str], parameters: dict[str, object]) -> bool:
    [count] = reading.db.execute(
        "SELECT count(*) FROM (SELECT 1 FROM events e"  # noqa: S608 - made of the texts above
        f" WHERE {' AND '.join(conditions)} LIMIT {_FEW_EVENTS + 1})",
        parameters,
    ).fetchone()
    return int(count) <= _FEW_EVENTS


# A retry that was scheduled before its endpoint came back is due since then; nothing starts before
# the endpoint's Retry-After is over. As core.endpoint.Health says.
_LOAD = """
SELECT d.seq, e.id, e.type, s.name, d.state, s.hold, d.attempts, e.accepted_at,
  CASE WHEN d.due_at IS NOT NULL AND s.hold IS NULL THEN
    max(
      CASE WHEN d.state = 'retrying' AND p.released_at >= d.scheduled_at
        THEN min(d.due_at, p.released_at) ELSE d.due_at END,
      coalesce(p.held_until, 0.0))
  END,
  d.ended_at, a.started_at, a.status, a.failure
FROM deliveries d
CROSS JOIN events e ON e.seq = d.event_seq
CROSS JOIN subscriptions s ON s.id = d.subscription_id
LEFT JOIN endpoints p ON p.url = s.url
LEFT JOIN attempts a ON a.delivery_seq = d.seq AND a.number = d.attempts
WHERE d.seq IN (SELECT value FROM json_each(?))
ORDER BY d.seq DESC
"""


def load(reading: Reading, seqs: Sequence[int]) -> list[ListedDelivery]:
    """Return the deliveries with these numbers, newest first."""
    found = []
    for (
        seq,
        event_id,
        event_type,
        name,
        stored,
        hold,
        attempts,
        accepted_at,
        *rest,
    ) in reading.db.execute(_LOAD, (json.dumps(list(seqs)),)):
        due_at, ended_at, last_started_at, last_status, last_failure = rest
        held = None if hold is None else Hold(hold)
        state = shown_state(State(stored), held)
        found.append(
            ListedDelivery(
                seq=seq,
                id=delivery_id(reading.tag, seq),
                event_id=event_id,
                event_type=event_type,
                subscription=name,
                state=state,
                hold=held if state is State.HELD else None,
                attempts=attempts,
                accepted_at=accepted_at,
                due_at=due_at,
                ended_at=ended_at,
                last_started_at=last_started_at,
                last_status=last_status,
                last_failure=last_failure,
            )
        )
    return found
