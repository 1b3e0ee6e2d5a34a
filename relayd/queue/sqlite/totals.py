"""Counts what was ever attempted and accepted, in the transaction that writes it: counters that never fall.

Retention takes nothing off them. They cost a few microseconds a transaction, however many rows it has.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from relayd.core.delivery import AttemptRecord
from relayd.core.durations import bound_ms
from relayd.queue.overview_values import AttemptTotals, Totals
from relayd.queue.sqlite import failures

_ADD_ATTEMPTS = """
INSERT INTO attempt_totals (subscription_id, state, within_ms, count, seconds)
SELECT id, ?2, ?3, ?4, ?5 FROM subscriptions WHERE name = ?1
ON CONFLICT DO UPDATE SET count = count + excluded.count, seconds = seconds + excluded.seconds"""

_ADD_ACCEPTED = """
INSERT INTO accepted_totals (source, count) VALUES (?, ?)
ON CONFLICT DO UPDATE SET count = count + excluded.count"""

_ATTEMPTS = """
SELECT s.name, t.state, t.within_ms, t.count, t.seconds FROM subscriptions s
LEFT JOIN attempt_totals t ON t.subscription_id = s.id ORDER BY s.id"""


def count_attempts(db: sqlite3.Connection, records: Iterable[AttemptRecord]) -> None:
    """Add attempts, inside the transaction that records them."""
    found: dict[tuple[str, str, int], tuple[int, float]] = {}
    for record in records:
        duration_s = record.outcome.duration_s
        key = (record.delivery.subscription, record.state.value, bound_ms(duration_s))
        count, seconds = found.get(key, (0, 0.0))
        found[key] = (count + 1, seconds + duration_s)
    db.executemany(_ADD_ATTEMPTS, [(*key, *sums) for key, sums in found.items()])


def count_accepted(db: sqlite3.Connection, sources: Iterable[str]) -> None:
    """Add events by their sources, inside the transaction that accepts them."""
    db.executemany(_ADD_ACCEPTED, Counter(sources).items())


def read_totals(db: sqlite3.Connection) -> Totals:
    """Return all of it."""
    attempts: dict[str, AttemptTotals] = {}
    causes = failures.read_sums(db)
    # A subscription has some thirty rows, and there may be a thousand of them.
    for name, rows in groupby(db.execute(_ATTEMPTS), itemgetter(0)):
        states: dict[str, int] = {}
        within: dict[int, int] = {}
        total = 0.0
        for _, state, within_ms, count, seconds in rows:
            if state is None:
                continue  # none yet
            states[state] = states.get(state, 0) + count
            within[within_ms] = within.get(within_ms, 0) + count
            total += seconds
        attempts[name] = AttemptTotals(
            Counter(states), Counter(within), total, causes.get(name, Counter())
        )
    return Totals(
        attempts,
        dict(db.execute("SELECT source, count FROM accepted_totals ORDER BY source")),
        dict(db.execute("SELECT source, ever FROM rejected_kept ORDER BY source")),
    )
