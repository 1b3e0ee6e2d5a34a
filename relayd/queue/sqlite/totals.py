"""Counts what was ever attempted and accepted, in the transaction that writes it: counters that never fall.

Retention takes nothing off them. They cost a few microseconds a transaction, however many rows it has.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable

from relayd.core.delivery import AttemptRecord
from relayd.core.durations import bound_ms
from relayd.queue.overview_values import AttemptTotals, Totals

_ADD_ATTEMPTS = """
INSERT INTO attempt_totals (subscription_id, state, within_ms, count, seconds)
SELECT id, ?2, ?3, ?4, ?5 FROM subscriptions WHERE name = ?1
ON CONFLICT DO UPDATE SET count = count + excluded.count, seconds = seconds + excluded.seconds"""

_ADD_ACCEPTED = """
INSERT INTO accepted_totals (source, count) VALUES (?, ?)
ON CONFLICT DO UPDATE SET count = count + excluded.count"""

_ATTEMPTS = """
SELECT s.name, t.state, t.within_ms, t.count, t.seconds FROM attempt_totals t
JOIN subscriptions s ON s.id = t.subscription_id ORDER BY t.subscription_id"""


def count_attempts(db: sqlite3.Connection, records: Iterable[AttemptRecord]) -> None:
    """Add attempts, inside the transaction that records them."""
    counts: Counter[tuple[str, str, int]] = Counter()
    seconds: dict[tuple[str, str, int], float] = {}
    for record in records:
        duration_s = record.outcome.duration_s
        key = (record.delivery.subscription, record.state.value, bound_ms(duration_s))
        counts[key] += 1
        seconds[key] = seconds.get(key, 0.0) + duration_s
    db.executemany(_ADD_ATTEMPTS, [(*key, number, seconds[key]) for key, number in counts.items()])


def count_accepted(db: sqlite3.Connection, sources: Iterable[str]) -> None:
    """Add events by their sources, inside the transaction that accepts them."""
    db.executemany(_ADD_ACCEPTED, Counter(sources).items())


def read_totals(db: sqlite3.Connection) -> Totals:
    """Return all of it."""
    attempts: dict[str, AttemptTotals] = {}
    for name, state, within_ms, count, seconds in db.execute(_ATTEMPTS):
        totals = attempts.setdefault(name, AttemptTotals())
        totals.states[state] += count
        totals.within_ms[within_ms] += count
        totals.seconds += seconds
    return Totals(
        attempts,
        dict(db.execute("SELECT source, count FROM accepted_totals ORDER BY source")),
        dict(db.execute("SELECT source, ever FROM rejected_kept ORDER BY source")),
    )
