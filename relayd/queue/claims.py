"""Finds what is due.

A claim writes nothing: what is in flight is known to the process that claimed it, and a killed
process leaves each of its deliveries due as it was.
"""

import json
import sqlite3
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter

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

    `next_due_at` is when to ask again: a time that has come where more is due than was wanted,
    None where nothing else waits.
    """

    deliveries: tuple[Delivery, ...]
    next_due_at: float | None
    backlog_first: bool


# Each part is one seek in the index of what waits, and ends after :n rows, however many wait.
# A fresh delivery has no upper bound to its time: a clock that was set back delays none.
_CANDIDATES = """
WITH want (number, subscription_id, now, released_at) AS (
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:wants)
)
SELECT want.number, 'fresh', d.seq, d.due_at FROM want JOIN deliveries d ON d.seq IN (
  SELECT seq FROM deliveries WHERE subscription_id = want.subscription_id
    AND state = 'pending' AND due_at > want.now - :fresh_for
    ORDER BY due_at, seq LIMIT :n)
UNION ALL
SELECT want.number, 'backlog', d.seq, d.due_at FROM want JOIN deliveries d ON d.seq IN (
  SELECT seq FROM deliveries WHERE subscription_id = want.subscription_id
    AND state = 'pending' AND due_at <= want.now - :fresh_for
    ORDER BY due_at, seq LIMIT :n)
UNION ALL
SELECT want.number, 'backlog', d.seq, d.due_at FROM want JOIN deliveries d ON d.seq IN (
  SELECT seq FROM deliveries WHERE subscription_id = want.subscription_id
    AND state = 'retrying' AND due_at <= want.now
    ORDER BY due_at, seq LIMIT :n)
UNION ALL
SELECT want.number, 'backlog', d.seq, d.due_at FROM want JOIN deliveries d
  ON want.released_at IS NOT NULL AND d.seq IN (
  SELECT seq FROM deliveries WHERE subscription_id = want.subscription_id
    AND state = 'retrying' AND due_at > want.now AND scheduled_at <= want.released_at
    ORDER BY due_at, seq LIMIT :n)
"""

_NEXT_DUE = """
WITH want (number, subscription_id, now, released_at) AS (
  SELECT value ->> 0, value ->> 1, value ->> 2, value ->> 3 FROM json_each(:wants)
)
SELECT number, (
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


def claim(
    db: sqlite3.Connection,
    wants: Sequence[Want],
    *,
    tag: str,
    subscription_ids: Mapping[str, int],
) -> list[Claim]:
    """Answer many endpoints' wants at once, each with one `Claim`, in order."""
    rows = [
        (number, subscription_ids[name], want.now, want.released_at)
        for number, want in enumerate(wants)
        for name in want.subscriptions
    ]
    candidates = db.execute(
        _CANDIDATES,
        {
            "wants": json.dumps(rows),
            "fresh_for": FRESH_FOR_S,
            # One more than any may take, to know whether more is due.
            "n": max(want.count + len(want.busy) for want in wants) + 1,
        },
    )
    fresh: dict[int, list[tuple[float, int]]] = defaultdict(list)
    backlog: dict[int, list[tuple[float, int]]] = defaultdict(list)
    for number, kind, seq, due_at in candidates:
        if seq not in wants[number].busy:
            (fresh if kind == "fresh" else backlog)[number].append((due_at, seq))

    chosen: list[list[int]] = []
    turns: list[bool] = []
    more_due: list[bool] = []
    for number, want in enumerate(wants):
        admitted, backlog_first = admit(
            sorted(fresh[number]),
            sorted(backlog[number]),
            want.count,
            backlog_first=want.backlog_first,
        )
        chosen.append([seq for _, seq in admitted])
        turns.append(backlog_first)
        more_due.append(len(fresh[number]) + len(backlog[number]) > len(admitted))

    loaded = _load(db, chosen, tag, {value: key for key, value in subscription_ids.items()})
    next_due = _next_due(db, [row for row in rows if not more_due[row[0]]])
    return [
        Claim(
            deliveries=tuple(loaded[seq] for seq in chosen[number] if seq in loaded),
            next_due_at=want.now if more_due[number] else next_due.get(number),
            backlog_first=turns[number],
        )
        for number, want in enumerate(wants)
    ]


def _load(
    db: sqlite3.Connection, chosen: list[list[int]], tag: str, names: Mapping[int, str]
) -> dict[int, Delivery]:
    seqs = [seq for each in chosen for seq in each]
    if not seqs:
        return {}
    rows = db.execute(_LOAD, (json.dumps(seqs),))
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
        for seq, subscription_id, event_id, event_type, state, attempts, step, body in rows
    }


def _next_due(
    db: sqlite3.Connection, rows: Sequence[tuple[int, int, float, float | None]]
) -> dict[int, float]:
    if not rows:
        return {}
    found = db.execute(_NEXT_DUE, {"wants": json.dumps(rows)})
    due: dict[int, float] = {}
    for number, due_at in sorted((row for row in found if row[1] is not None), key=itemgetter(1)):
        due.setdefault(number, due_at)
    return due
