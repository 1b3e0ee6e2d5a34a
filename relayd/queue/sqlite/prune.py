"""Finds and removes what has been kept for long enough: ended events, rejected input.

A step is one transaction of a bounded size that looks at its events again, so that nothing is
removed that was replayed since it was found.
"""

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from relayd.core.expiry import Expiry
from relayd.queue.sqlite import failures, statistics, webhooks
from relayd.queue.sqlite.clock_marks import mark_expired, mark_seen
from relayd.queue.sqlite.feed_removals import remember_removal
from relayd.queue.sqlite.rejected import forget_left, remove_rows
from relayd.queue.values import Cursor, Horizon, PruneStep

STEP_EVENTS: Final = 200
STEP_ROWS: Final = 1_000
"""Events, deliveries and attempts together, of which one event alone may have more."""
STEP_BYTES: Final = 4 * 1024 * 1024
REJECTED_STEP_ROWS: Final = 1_000

# One that blocks others in their order stays, so that it can be replayed or given up.
# An event was accepted before its deliveries ended, so that nothing newer need be looked at.
_ENDED = """
NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = e.seq
  AND (d.ended_at IS NULL OR d.ended_at >= :ended OR d.order_key IS NOT NULL AND EXISTS (
    SELECT 1 FROM deliveries o INDEXED BY deliveries_in_order
    WHERE o.subscription_id = d.subscription_id AND o.order_key = d.order_key AND o.seq > d.seq)))"""

_CANDIDATES = f"""
SELECT e.accepted_at, e.type, e.seq, coalesce(length(e.body), 0)
  + coalesce((SELECT length(b.body) FROM inbound_bodies b WHERE b.event_seq = e.seq), 0),
  (SELECT count(*) + coalesce(sum(d.attempts), 0) FROM deliveries d WHERE d.event_seq = e.seq)
FROM events e INDEXED BY events_listed
WHERE e.accepted_at < :ended AND e.accepted_at >= :accepted_at
  AND (e.accepted_at, e.type, e.seq) > (:accepted_at, :type, :seq)
  AND (e.accepted_at < :known OR e.body IS NOT NULL)
  AND {_ENDED}
ORDER BY e.accepted_at, e.type, e.seq LIMIT {STEP_EVENTS}"""  # noqa: S608 - constants of our own

_STILL = f"""
SELECT e.seq FROM events e
WHERE e.seq IN (SELECT value FROM json_each(:seqs)) AND {_ENDED}"""  # noqa: S608 - a constant of our own

_REMOVALS = (
    """UPDATE queue SET sequence_removed = max(sequence_removed, coalesce((SELECT max(sequence)
  FROM events WHERE seq IN (SELECT value FROM json_each(:seqs)) AND accepted_at < :known), 0))""",
    """DELETE FROM attempts WHERE delivery_seq IN
  (SELECT seq FROM deliveries WHERE event_seq IN (SELECT value FROM json_each(:seqs)))""",
    "DELETE FROM deliveries WHERE event_seq IN (SELECT value FROM json_each(:seqs))",
    """DELETE FROM events WHERE seq IN (SELECT value FROM json_each(:seqs))
  AND accepted_at < :known""",
    *webhooks.REMOVALS,
)

# What stays of a younger one, its id above all. It is removed and put back, since SQLite frees no
# room for a row that only becomes shorter: of 144,000 events of 600 bytes, 26 MB came free.
_REST = """
SELECT seq, market_id, id, type, created, accepted_at, source, digest, sequence, object_id FROM events
WHERE seq IN (SELECT value FROM json_each(:seqs)) ORDER BY seq"""

_REMOVE_REST = "DELETE FROM events WHERE seq IN (SELECT value FROM json_each(:seqs))"

_PUT_BACK = """
INSERT INTO events
  (seq, market_id, id, type, created, accepted_at, source, digest, sequence, object_id, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, NULL)"""


def find_step(db: sqlite3.Connection, horizon: Horizon, cursor: Cursor) -> PruneStep:
    """Find the next events that may go. Reads only."""
    rows = db.execute(
        _CANDIDATES,
        {
            "ended": horizon.ended,
            "known": horizon.known,
            "accepted_at": cursor.accepted_at,
            "type": cursor.event_type,
            "seq": cursor.seq,
        },
    ).fetchall()
    events: list[int] = []
    size = count = 0
    for accepted_at, event_type, seq, body_bytes, below in rows:
        size += body_bytes
        count += 1 + below
        if events and (size > STEP_BYTES or count > STEP_ROWS):
            return PruneStep(tuple(events), cursor)
        events.append(seq)
        cursor = Cursor(accepted_at, event_type, seq)
    return PruneStep(tuple(events), cursor if len(rows) == STEP_EVENTS else None)


def remove(db: sqlite3.Connection, horizon: Horizon, events: Sequence[int], *, now: float) -> int:
    """Remove those of the events that may still go, in the caller's transaction; return how many."""
    values = {"ended": horizon.ended, "known": horizon.known, "seqs": json.dumps(list(events))}
    still = [seq for (seq,) in db.execute(_STILL, values)]
    values["seqs"] = json.dumps(still)
    remember_removal(db, json.dumps(still), now=now)
    for statement in _REMOVALS:
        db.execute(statement, values)
    rest = db.execute(_REST, values).fetchall()
    db.execute(_REMOVE_REST, values)
    db.executemany(_PUT_BACK, rest)
    return len(still)


_REJECTED = f"""
SELECT seq, coalesce(length(data), 0) + coalesce(length(id), 0) + coalesce(length(type), 0)
  + coalesce(length(webhook), 0)
FROM rejected INDEXED BY rejected_listed WHERE rejected_at < ?
ORDER BY rejected_at LIMIT {REJECTED_STEP_ROWS}"""  # noqa: S608 - a constant of our own


def remove_rejected(db: sqlite3.Connection, before: float) -> int:
    """Remove the oldest rejected input of before this time, in the caller's transaction.

    Returns how much; 0 where there is none. At most about `STEP_BYTES` at once.
    """
    seqs: list[int] = []
    size = 0
    for seq, row_bytes in db.execute(_REJECTED, (before,)):
        size += row_bytes
        if seqs and size > STEP_BYTES:
            break
        seqs.append(seq)
    # Without their fingerprints, which would be kept for 30 days: a producer could fill the disk.
    return remove_rows(db, json.dumps(seqs))


def used_bytes(db: sqlite3.Connection) -> int:
    """Return how much of the file is in use; the rest is free for what comes."""

    def number(pragma: str) -> int:
        [(value,)] = db.execute(f"PRAGMA {pragma}").fetchall()
        return int(value)

    return (number("page_count") - number("freelist_count")) * number("page_size")


def remember_expiry(db: sqlite3.Connection, now: float, expiry: Expiry, *, known: float) -> None:
    """Remember where expiry stands, and forget what nobody asks for any more."""
    mark_seen(db, now)
    mark_expired(db, expiry.stands_at)
    statistics.forget(db, now=expiry.horizon)
    failures.forget(db, now=expiry.horizon)
    forget_left(db, known)
    webhooks.forget_tokens(db, known)
