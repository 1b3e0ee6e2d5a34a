"""Finds what is due.

A claim writes nothing: what is in flight is known to the process that claimed it, and a killed
process leaves each of its deliveries due as it was.
"""

import json
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
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
# Each part is one seek in the index of what waits, and ends after :n rows, however many wait.
# A fresh delivery has no upper bound to its time: a clock that was set back delays none.
_CANDIDATES = """
WITH want (number, subscription_id, now, released_at) AS (
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:wants)
)
SELECT want.number, want.subscription_id, 1, d.seq, d.due_at FROM want JOIN deliveries d ON d.seq IN (
  SELECT seq FROM deliveries WHERE subscription_id = want.subscription_id
    AND state = 'pending' AND due_at > want.now - :fresh_for
    ORDER BY due_at LIMIT :n)
UNION ALL
SELECT want.number, want.subscription_id, 0, d.seq, d.due_at FROM want JOIN deliveries d ON d.seq IN (
  SELECT seq FROM deliveries WHERE subscription_id = want.subscription_id
    AND state = 'pending' AND due_at <= want.now - :fresh_for
    ORDER BY due_at LIMIT :n)
UNION ALL
SELECT want.number, want.subscription_id, 0, d.seq, d.due_at FROM want JOIN deliveries d ON d.seq IN (
  SELECT seq FROM deliveries WHERE subscription_id = want.subscription_id
    AND state = 'retrying' AND due_at <= want.now
    ORDER BY due_at LIMIT :n)
UNION ALL
SELECT want.number, want.subscription_id, 0, d.seq, d.due_at FROM want JOIN deliveries d
  ON want.released_at IS NOT NULL AND d.seq IN (
  SELECT seq FROM deliveries WHERE subscription_id = want.subscription_id
    AND state = 'retrying' AND due_at > want.now AND scheduled_at <= want.released_at
    ORDER BY due_at LIMIT :n)
"""

_NEXT_DUE = """
WITH want (number, subscription_id, now, released_at) AS (
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:wants)
)
SELECT number, subscription_id, (
  SELECT due_at FROM deliveries WHERE subscription_id = want.subscription_id
    AND state = 'retrying' AND due_at > want.now
    AND (want.released_at IS NULL OR scheduled_at > want.released_at)
    ORDER BY due_at LIMIT 1)
FROM want
"""

_LOAD = """
SELECT d.seq, d.subscription_id, e.id, e.type, d.state, d.attempts, d.step, e.body
FROM json_each(?) AS wanted
JOIN deliveries d ON d.seq = wanted.value AND d.due_at IS NOT NULL
JOIN events e ON e.seq = d.event_seq
"""


_Row = tuple[int, int, float, float | None]  # a want's number, a subscription's, now, released_at
_Candidate = tuple[float, int, int]  # due_at, a delivery's number, its subscription's


def claim(
    db: sqlite3.Connection,
    wants: Sequence[Want],
    *,
    tag: str,
    subscription_ids: Mapping[str, int],
) -> list[Claim]:
    """Answer many endpoints' wants at once, each with one `Claim`, in order."""
    names = {subscription_ids[name]: name for want in wants for name in want.subscriptions}
    rows: list[_Row] = [
        (number, subscription_ids[name], want.now, want.released_at)
        for number, want in enumerate(wants)
        for name in want.subscriptions
    ]
    fresh, backlog = _candidates(db, wants, rows)
    admissions = [
        admit(sorted(new), sorted(old), want.count, backlog_first=want.backlog_first)
        for want, new, old in zip(wants, fresh, backlog, strict=True)
    ]
    loaded = _load(db, [seq for admitted, _ in admissions for _, seq, _ in admitted], tag, names)

    more: set[tuple[int, int]] = set()
    claims: list[Claim] = []
    for number, (admitted, backlog_first) in enumerate(admissions):
        left = Counter(each[2] for each in chain(fresh[number], backlog[number]))
        left.subtract(each[2] for each in admitted)
        due = [subscription_id for subscription_id, count in left.items() if count > 0]
        more.update((number, subscription_id) for subscription_id in due)
        claims.append(
            Claim(
                deliveries=tuple(loaded[seq] for _, seq, _ in admitted if seq in loaded),
                next_due={names[each]: wants[number].now for each in due},
                backlog_first=backlog_first,
            )
        )
    for number, subscription_id, due_at in _next_due(
        db, [row for row in rows if row[:2] not in more]
    ):
        claims[number].next_due[names[subscription_id]] = due_at
    return claims


def _candidates(
    db: sqlite3.Connection, wants: Sequence[Want], rows: Sequence[_Row]
) -> tuple[list[list[_Candidate]], list[list[_Candidate]]]:
    """Return what is fresh and what is backlog, for each want."""
    fresh: list[list[_Candidate]] = [[] for _ in wants]
    backlog: list[list[_Candidate]] = [[] for _ in wants]
    found = db.execute(
        _CANDIDATES,
        {
            "wants": json.dumps(rows),
            "fresh_for": FRESH_FOR_S,
            # One more than any may take, to know whether more is due.
            "n": max(want.count + len(want.busy) for want in wants) + 1,
        },
    )
    for number, subscription_id, is_fresh, seq, due_at in found:
        if seq not in wants[number].busy:
            (fresh if is_fresh else backlog)[number].append((due_at, seq, subscription_id))
    return fresh, backlog


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


def _next_due(db: sqlite3.Connection, rows: Sequence[_Row]) -> list[tuple[int, int, float]]:
    if not rows:
        return []
    found = db.execute(_NEXT_DUE, {"wants": json.dumps(rows)})
    return [row for row in found if row[2] is not None]
