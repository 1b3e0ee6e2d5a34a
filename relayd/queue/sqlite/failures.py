"""Counts failed attempts by hour, subscription and cause, in the transaction that records them.

An attempt that succeeds costs nothing here. The hours of the last day are told apart; retention adds
older ones to one row for each cause, so that the counts of all time never fall. A status that nobody has
defined counts by its class: a receiver that answers with ever another one makes no more rows.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable

from relayd.core.delivery import AttemptRecord
from relayd.core.outcome import Failure, counted_status
from relayd.queue.overview_values import FailureCount, Failures
from relayd.queue.sqlite.read_only import Reading

_HOUR_S = 3600
_KEPT_S = 30 * 3600.0
_EARLIER = 0
"""Stands for the hours that are no longer told apart."""

_ADD = """
INSERT INTO failure_counts
  (since, subscription_id, cause, status, count, last_at, delivery_seq, detail)
SELECT ?1, id, ?3, ?4, ?5, ?6, ?7, ?8 FROM subscriptions WHERE name = ?2
ON CONFLICT DO UPDATE SET count = count + excluded.count, last_at = excluded.last_at,
  delivery_seq = excluded.delivery_seq, detail = excluded.detail"""

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


def count(db: sqlite3.Connection, records: Iterable[AttemptRecord]) -> None:
    """Add the attempts that failed, inside the transaction that records them."""
    failed = [each for each in records if each.outcome.failure is not None]
    if not failed:
        return
    latest: dict[tuple[int, str, str, int], AttemptRecord] = {}
    numbers: Counter[tuple[int, str, str, int]] = Counter()
    for record in failed:
        why = record.outcome.why
        assert why is not None
        hour = int(record.started_at) // _HOUR_S * _HOUR_S
        key = (hour, record.delivery.subscription, why.value, counted_status(record.outcome.status))
        latest[key] = record
        numbers[key] += 1
    db.executemany(
        _ADD,
        [
            (*key, numbers[key], each.started_at, each.delivery.seq, each.outcome.detail)
            for key, each in latest.items()
        ],
    )


def count_defect(
    db: sqlite3.Connection, subscription: str, seq: int, detail: str, *, now: float
) -> None:
    """Add an attempt of a delivery that could not be recorded otherwise, as `count` does."""
    hour = int(now) // _HOUR_S * _HOUR_S
    db.execute(_ADD, (hour, subscription, Failure.DEFECT, 0, 1, now, seq, detail))


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
