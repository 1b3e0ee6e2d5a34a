"""Finds what is due.

A claim writes nothing: what is in flight is known to the process that claimed it, and a killed
process leaves each of its deliveries due as it was.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

from relayd.core.admission import FRESH_FOR_S, admit
from relayd.core.delivery import Delivery, State, delivery_id
from relayd.core.release import Extra, released_by
from relayd.queue.values import Claim, Want

# Ordered by due_at alone, as the index is: a second key would sort all that are due at one moment.
# Each part is one seek in the index of what waits, and ends after :n rows, however many wait. One
# statement for each subscription: one over a list of them cost eight times as much for one of it.
# A fresh delivery has no upper bound to its time: a clock that was set back delays none.
_DUE = """
SELECT 1, due_at, seq FROM (
  SELECT due_at, seq FROM deliveries WHERE subscription_id = :subscription_id
    AND state = 'pending' AND behind IS NULL AND due_at > :now - :fresh_for
    ORDER BY due_at LIMIT :n)
UNION ALL
SELECT 0, due_at, seq FROM (
  SELECT due_at, seq FROM deliveries WHERE subscription_id = :subscription_id
    AND state = 'pending' AND behind IS NULL AND due_at <= :now - :fresh_for
    ORDER BY due_at LIMIT :n)
UNION ALL
SELECT 0, due_at, seq FROM (
  SELECT due_at, seq FROM deliveries WHERE subscription_id = :subscription_id
    AND state = 'retrying' AND behind IS NULL AND due_at <= :now
    ORDER BY due_at LIMIT :n)
"""

_OPERATOR = "SELECT release FROM subscriptions WHERE id = :subscription_id"

# Two seeks, since the operator's releases know no step. What is due anyway is among what they find:
# :n rows hold enough of either. What was released alone has a number below 0, and comes first.
_RELEASED = """
SELECT due_at, seq, release_seen, recovery_used FROM (
  SELECT due_at, seq, release_seen, recovery_used
  FROM deliveries INDEXED BY deliveries_releasable WHERE subscription_id = :subscription_id
    AND state = 'retrying' AND behind IS NULL AND recovery_used = 0
    AND release_seen < max(:recovery, :operator)
    ORDER BY release_seen, due_at LIMIT :n)
UNION ALL
SELECT due_at, seq, release_seen, recovery_used FROM (
  SELECT due_at, seq, release_seen, recovery_used
  FROM deliveries INDEXED BY deliveries_releasable WHERE subscription_id = :subscription_id
    AND state = 'retrying' AND behind IS NULL AND recovery_used = 1 AND release_seen < :operator
    ORDER BY release_seen, due_at LIMIT :n)
"""

_NEXT_DUE = """
SELECT due_at FROM deliveries WHERE subscription_id = :subscription_id
  AND state = 'retrying' AND behind IS NULL AND due_at > :now
  ORDER BY due_at LIMIT 1
"""

_LOAD = """
SELECT d.seq, d.subscription_id, e.id, e.type, d.state, d.attempts, d.step, d.due_at, e.body,
  e.sequence, d.order_key
FROM json_each(?) AS wanted
JOIN deliveries d ON d.seq = wanted.value AND d.due_at IS NOT NULL AND d.behind IS NULL
JOIN events e ON e.seq = d.event_seq
"""


_Candidate = tuple[float, int, int]  # due since, a delivery's number, its subscription's


def claim(
    db: sqlite3.Connection,
    wants: Sequence[Want],
    *,
    tag: str,
    subscription_ids: Mapping[str, int],
) -> list[Claim]:
    """Answer many endpoints' wants at once, each with one `Claim`, in order."""
    return [_claim(db, want, tag, subscription_ids) for want in wants]


def _claim(
    db: sqlite3.Connection, want: Want, tag: str, subscription_ids: Mapping[str, int]
) -> Claim:
    names = {subscription_ids[name]: name for name in want.subscriptions}
    fresh: list[_Candidate] = []
    backlog: list[_Candidate] = []
    next_due: dict[str, float] = {}
    extras: dict[int, Extra] = {}
    for subscription_id, name in names.items():
        parameters = {
            "subscription_id": subscription_id,
            "now": want.now,
            "recovery": want.recovery,
            "fresh_for": FRESH_FOR_S,
            # One more than may be taken, to know whether more is due.
            "n": want.count + len(want.busy) + 1,
        }
        before = len(fresh) + len(backlog)
        for is_fresh, since, seq in db.execute(_DUE, parameters):
            if seq not in want.busy:
                (fresh if is_fresh else backlog).append((since, seq, subscription_id))
        if len(fresh) + len(backlog) - before > want.count:
            continue  # more is due than is wanted: nothing else needs to be known
        # Without a retry that waits for its time, nothing can be released.
        coming: tuple[float] | None = db.execute(_NEXT_DUE, parameters).fetchone()
        if coming is not None:
            next_due[name] = coming[0]
            for due_at, seq, extra in _released(db, want, parameters):
                extras[seq] = extra
                backlog.append((due_at, seq, subscription_id))
    admitted, backlog_first = admit(
        sorted(fresh), sorted(backlog), want.count, backlog_first=want.backlog_first
    )
    loaded = _load(db, [seq for _, seq, _ in admitted], tag, names, extras)

    left = Counter(each[2] for each in chain(fresh, backlog))
    left.subtract(each[2] for each in admitted)
    next_due |= {name: want.now for number, name in names.items() if left[number] > 0}
    return Claim(
        deliveries=tuple(loaded[seq] for _, seq, _ in admitted if seq in loaded),
        next_due=next_due,
        backlog_first=backlog_first,
    )


def _released(
    db: sqlite3.Connection, want: Want, parameters: Mapping[str, object]
) -> Iterator[tuple[float, int, Extra]]:
    """Yield what is not due and was released: its time, its number, and by what."""
    [(operator,)] = db.execute(_OPERATOR, parameters)
    rows = db.execute(_RELEASED, {**parameters, "operator": operator})
    for due_at, seq, release_seen, recovery_used in rows:
        if due_at <= want.now or seq in want.busy:
            continue
        extra = released_by(
            release_seen,
            recovery_used=bool(recovery_used),
            recovery=want.recovery,
            operator=operator,
        )
        if extra is not None:
            yield due_at, seq, extra


def _load(
    db: sqlite3.Connection,
    seqs: list[int],
    tag: str,
    names: Mapping[int, str],
    extras: Mapping[int, Extra],
) -> dict[int, Delivery]:
    if not seqs:
        return {}
    return {
        seq: Delivery(
            seq=seq,
            id=delivery_id(tag, seq),
            subscription=names[subscription_id],
            event_id=event_id,
            event_type=event_type,
            state=State(state),
            attempts=attempts,
            step=step,
            due_at=due_at,
            body=body,
            extra=extras.get(seq),
            sequence=sequence,
            order_key=order_key,
        )
        for (
            seq,
            subscription_id,
            event_id,
            event_type,
            state,
            attempts,
            step,
            due_at,
            body,
            sequence,
            order_key,
        ) in db.execute(_LOAD, (json.dumps(seqs),))
    }
