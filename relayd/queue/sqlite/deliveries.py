"""Lists deliveries, newest first, as they are shown."""

import json
from collections.abc import Sequence

from relayd.core.delivery import State, delivery_id, shown_state
from relayd.core.hold import Hold
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.snapshot_values import ListedDelivery, Page, Place
from relayd.queue.sqlite.earlier_causes import earlier_cause
from relayd.queue.sqlite.effective_due import EFFECTIVE_DUE
from relayd.queue.sqlite.query_plan import among_the_newest, query_for
from relayd.queue.sqlite.read_only import Reading


def list_deliveries(reading: Reading, wanted: DeliveryFilter, limit: int) -> Page:
    """Return the newest deliveries that match, at most `limit` of them.

    Raises KeyError for a subscription that the queue does not know.
    """
    seqs: list[int] = []
    for query_of in (among_the_newest, query_for):
        query = query_of(reading, wanted, limit + 1)
        if query is not None:
            sql, parameters = query
            seqs = [seq for (seq,) in reading.db.execute(sql, parameters)]
            if len(seqs) > limit:
                break
    return Page(tuple(load(reading, seqs[:limit])), more=len(seqs) > limit)


_SAME_KEY = """
FROM deliveries o INDEXED BY deliveries_in_order
WHERE o.subscription_id = d.subscription_id AND o.order_key = d.order_key"""

# An extra attempt that failed leaves scheduled_at as it was.
_LOAD = f"""
SELECT d.seq, e.id, e.type, e.market_id, s.name, d.state, s.hold, d.attempts, e.accepted_at,
  coalesce(d.ended_at, max(d.scheduled_at, coalesce(a.started_at + a.duration_s, 0.0))),
  CASE WHEN d.due_at IS NOT NULL AND d.behind IS NULL AND s.hold IS NULL THEN {EFFECTIVE_DUE} END,
  d.ended_at, a.started_at, a.status, a.failure, d.recovery_used, e.object_id, e.sequence, d.order_key,
  CASE WHEN d.behind THEN (SELECT max(o.seq) {_SAME_KEY} AND o.seq < d.seq) END,
  CASE WHEN d.behind THEN (SELECT min(o.seq) {_SAME_KEY}) END,
  a.cause, CASE WHEN a.failure IS NOT NULL AND a.cause IS NULL THEN coalesce(a.detail, '') END
FROM deliveries d
CROSS JOIN events e ON e.seq = d.event_seq
CROSS JOIN subscriptions s ON s.id = d.subscription_id
LEFT JOIN endpoints p ON p.url = s.url
LEFT JOIN attempts a ON a.delivery_seq = d.seq AND a.number = d.attempts
WHERE d.seq IN (SELECT value FROM json_each(?))
ORDER BY d.seq DESC
"""  # noqa: S608 - made of texts of our own


def load(reading: Reading, seqs: Sequence[int]) -> list[ListedDelivery]:
    """Return the deliveries with these numbers, newest first."""
    found = []
    for (
        seq,
        event_id,
        event_type,
        market_id,
        name,
        stored,
        hold,
        attempts,
        accepted_at,
        changed_at,
        *rest,
    ) in reading.db.execute(_LOAD, (json.dumps(list(seqs)),)):
        due_at, ended_at, last_started_at, last_status, last_failure, recovery_used, *last = rest
        object_id, sequence, order_key, behind, first, last_cause, words = last
        if words is not None:
            last_cause, _ = earlier_cause(last_failure, words)
        held = None if hold is None else Hold(hold)
        state = shown_state(State(stored), held)
        found.append(
            ListedDelivery(
                seq=seq,
                id=delivery_id(reading.tag, seq),
                event_id=event_id,
                event_type=event_type,
                market_id=market_id,
                subscription=name,
                state=state,
                hold=held if state is State.HELD else None,
                attempts=attempts,
                accepted_at=accepted_at,
                changed_at=changed_at,
                due_at=due_at,
                ended_at=ended_at,
                last_started_at=last_started_at,
                last_status=last_status,
                last_failure=last_failure,
                last_cause=last_cause,
                recovery_used=bool(recovery_used),
                object_id=object_id,
                sequence=sequence,
                place=None if order_key is None else _place(reading, order_key, behind, first),
            )
        )
    return found


def _place(reading: Reading, key: str, behind: int | None, first: int | None) -> Place:
    before, head = (
        None if each is None else delivery_id(reading.tag, each) for each in (behind, first)
    )
    return Place(key, before, head)
