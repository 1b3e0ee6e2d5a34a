"""How many attempts failed, by hour, subscription and cause: counted by `attempt_counts`.

The hours of the last day are told apart; retention adds older ones to one row for each cause, so that
the counts of all time never fall. A status that nobody has defined counts by its class: a receiver that
answers with ever another one makes no more rows.
"""

import sqlite3
from collections import Counter

from relayd.queue.overview_values import FailureCount, Failures
from relayd.queue.sqlite.read_only import Reading

_KEPT_S = 30 * 3600.0
_EARLIER = 0
"""Stands for the hours that are no longer told apart."""

_KEEP_SUMS = f"""
INSERT INTO failure_counts
  (since, subscription_id, cause, status, count, last_at, delivery_seq, detail)
SELECT {_EARLIER}, subscription_id, cause, status, sum(count), max(last_at), delivery_seq, ''
FROM failure_counts WHERE since > {_EARLIER} AND since < :before GROUP BY 2, 3, 4
ON CONFLICT DO UPDATE SET count = count + excluded.count"""  # noqa: S608 - a constant of our own

_FORGET = f"DELETE FROM failure_counts WHERE since > {_EARLIER} AND since < :before"  # noqa: S608 - a constant of our own

_COUNTED_FROM = "SELECT failures_from FROM queue"

_READ = """
SELECT f.since, s.name, f.cause, nullif(f.status, 0), f.count, f.last_at, f.delivery_seq, f.detail
FROM failure_counts f JOIN subscriptions s ON s.id = f.subscription_id
WHERE f.since >= ? AND f.since <= ? ORDER BY f.since, s.name, f.cause, f.status"""

_SUMS = """
SELECT s.name, f.cause, f.status, sum(f.count)
FROM failure_counts f JOIN subscriptions s ON s.id = f.subscription_id GROUP BY 1, 2, 3"""


def forget(db: sqlite3.Connection, *, now: float) -> None:
    """Tell older hours apart no longer; what they counted stays in the sums."""
    for statement in (_KEEP_SUMS, _FORGET):
        db.execute(statement, {"before": now - _KEPT_S})


def read_failures(reading: Reading, *, since: float, until: float) -> Failures:
    """Return the failed attempts of the hours from `since` to `until` (Unix seconds), by hour and cause.

    With `until` now, not what was counted while the clock was ahead.
    """
    [counted_from] = reading.db.execute(_COUNTED_FROM).fetchone()
    rows = reading.db.execute(_READ, (since, until))
    return Failures(
        tuple(FailureCount(*row) for row in rows),
        complete=counted_from is None or counted_from <= since,
    )


def read_sums(db: sqlite3.Connection) -> dict[str, Counter[tuple[str, int]]]:
    """Return all failed attempts ever counted, by subscription, and by cause and status (0: none)."""
    found: dict[str, Counter[tuple[str, int]]] = {}
    for name, cause, status, number in db.execute(_SUMS):
        found.setdefault(name, Counter())[cause, status] = number
    return found
