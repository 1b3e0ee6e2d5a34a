"""Finds what is due.

A claim writes nothing: what is in flight is known to the process that claimed it, and a killed
process leaves each of its deliveries due as it was.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain

from relayd.core.admission import FRESH_FOR_S, admit
from relayd.core.delivery import Delivery, State, delivery_id


@dataclass(frozen=True, slots=True)
class Want:
    """One endpoint's wish for at most `count` due deliveries of its subscriptions.

    `busy` holds the numbers of those in flight. Retries that were scheduled before `released_at`
    are due whatever their time. `now` and `released_at` are Unix seconds.
    """

    subscriptions: tuple[str, ...]
    count: int
    now: float
    busy: frozenset[int]
    released_at: float | None
    backlog_first: bool


@dataclass(frozen=True, slots=True)
class Claim:
    """What a `Want` found.

    `next_due` says when to ask for each subscription again: a time that has come where more is due
    than was wanted. Subscriptions for which nothing else waits are not in it.
    """

    deliveries: tuple[Delivery, ...]
    next_due: dict[str, float]
    backlog_first: bool


# Ordered by due_at alone, as the index is: a second key would sort all that are due at one moment.
# Each part is one seek in the index of what waits, and ends after :n rows, however many wait. One
# statement for each subscription: one over a list of them cost eight times as much for one of it.
# A fresh delivery has no upper bound to its time: a clock that was set back delays none.
_DUE = """
SELECT 1, due_at, seq FROM (
  SELECT due_at, seq FROM deliveries WHERE subscription_id = :subscription_id
    AND state = 'pending' AND due_at > :now - :fresh_for
    ORDER BY due_at LIMIT :n)
UNION ALL
SELECT 0, due_at, seq FROM (
  SELECT due_at, seq FROM deliveries WHERE subscription_id = :subscription_id
    AND state = 'pending' AND due_at <= :now - :fresh_for
    ORDER BY due_at LIMIT :n)
UNION ALL
SELECT 0, due_at, seq FROM (
  SELECT due_at, seq FROM deliveries WHERE subscription_id = :subscription_id
    AND state = 'retrying' AND due_at <= :now
    ORDER BY due_at LIMIT :n)
"""

_RELEASED = """
SELECT 0, due_at, seq FROM deliveries WHERE subscription_id = :subscription_id
  AND state = 'retrying' AND due_at > :now AND scheduled_at <= :released_at
  ORDER BY due_at LIMIT :n
"""

_NEXT_DUE = """
SELECT due_at FROM deliveries WHERE subscription_id = :subscription_id
  AND state = 'retrying' AND due_at > :now
  AND (:released_at IS NULL OR scheduled_at > :released_at)
  ORDER BY due_at LIMIT 1
"""

_LOAD = """
SELECT d.seq, d.subscription_id, e.id, e.type, d.state, d.attempts, d.step, e.body
FROM json_each(?) AS wanted
JOIN deliveries d ON d.seq = wanted.value AND d.due_at IS NOT NULL
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
    for subscription_id in names:
        for is_fresh, since, seq in _due(db, want, subscription_id):
            if seq not in want.busy:
                (fresh if is_fresh else backlog).append((since, seq, subscription_id))
    admitted, backlog_first = admit(
        sorted(fresh), sorted(backlog), want.count, backlog_first=want.backlog_first
    )
    loaded = _load(db, [seq for _, seq, _ in admitted], tag, names)

    left = Counter(each[2] for each in chain(fresh, backlog))
    left.subtract(each[2] for each in admitted)
    next_due: dict[str, float] = {}
    for subscription_id, name in names.items():
        if left[subscription_id] > 0:
            next_due[name] = want.now
        elif (due_at := _next_due(db, want, subscription_id)) is not None:
            next_due[name] = due_at
    return Claim(
        deliveries=tuple(loaded[seq] for _, seq, _ in admitted if seq in loaded),
        next_due=next_due,
        backlog_first=backlog_first,
    )


def _due(
    db: sqlite3.Connection, want: Want, subscription_id: int
) -> Iterator[tuple[int, float, int]]:
    """Return what is due: whether it is fresh, since when, and its number."""
    parameters = {
        "subscription_id": subscription_id,
        "now": want.now,
        "released_at": want.released_at,
        "fresh_for": FRESH_FOR_S,
        # One more than may be taken, to know whether more is due.
        "n": want.count + len(want.busy) + 1,
    }
    yield from db.execute(_DUE, parameters)
    if want.released_at is not None:
        yield from db.execute(_RELEASED, parameters)


def _load(
    db: sqlite3.Connection, seqs: list[int], tag: str, names: Mapping[int, str]
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
            body=body,
        )
        for seq, subscription_id, event_id, event_type, state, attempts, step, body in db.execute(
            _LOAD, (json.dumps(seqs),)
        )
    }


def _next_due(db: sqlite3.Connection, want: Want, subscription_id: int) -> float | None:
    """Return when the next retry comes up that is not due yet."""
    parameters = {
        "subscription_id": subscription_id,
        "now": want.now,
        "released_at": want.released_at,
    }
    row: tuple[float] | None = db.execute(_NEXT_DUE, parameters).fetchone()
    return None if row is None else row[0]
