"""What was ever attempted and accepted: counters that never fall, since retention takes nothing off them.

They are counted in the transaction that writes it (attempts by `attempt_counts`), and cost a few
microseconds a transaction, however many rows it has.
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from itertools import groupby
from operator import itemgetter

from relayd.queue.overview_values import AttemptTotals, Totals
from relayd.queue.sqlite import failures

_ADD_ACCEPTED = """
INSERT INTO accepted_totals (source, count) VALUES (?, ?)
ON CONFLICT DO UPDATE SET count = count + excluded.count"""

_ATTEMPTS = """
SELECT s.name, t.state, t.within_ms, t.count, t.seconds FROM subscriptions s
LEFT JOIN attempt_totals t ON t.subscription_id = s.id ORDER BY s.id"""


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
