"""Counts attempts in the transaction that records them, so that no answer has to read them all.

There are three counts, read in a module each: `statistics` (by endpoint, in spans of five minutes and
of an hour), `totals` (by subscription, for all time), and `failures` (by hour and cause; an attempt
that succeeds costs nothing there).
"""

import sqlite3
from collections import Counter
from collections.abc import Iterable
from typing import Final

from relayd.core.delivery import AttemptRecord
from relayd.core.durations import NO_ANSWER, bound_ms, response_class
from relayd.core.outcome import Failure, counted_status

SHORT_S: Final = 300
LONG_S: Final = 3600
"""The spans of an endpoint's counts."""

_HOUR_S: Final = 3600

_ADD_TO_ENDPOINT = """
INSERT INTO attempt_counts (span_s, since, url, state, response, count) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET count = count + excluded.count"""

_ADD_TO_TOTALS = """
INSERT INTO attempt_totals (subscription_id, state, within_ms, count, seconds)
SELECT id, ?2, ?3, ?4, ?5 FROM subscriptions WHERE name = ?1
ON CONFLICT DO UPDATE SET count = count + excluded.count, seconds = seconds + excluded.seconds"""

_ADD_FAILURES = """
INSERT INTO failure_counts
  (since, subscription_id, cause, status, count, last_at, delivery_seq, detail)
SELECT ?1, id, ?3, ?4, ?5, ?6, ?7, ?8 FROM subscriptions WHERE name = ?2
ON CONFLICT DO UPDATE SET count = count + excluded.count, last_at = excluded.last_at,
  delivery_seq = excluded.delivery_seq, detail = excluded.detail"""


def count_attempts(db: sqlite3.Connection, attempts: Iterable[tuple[str, AttemptRecord]]) -> None:
    """Add attempts, each with its endpoint's URL, inside the transaction that records them."""
    endpoints: Counter[tuple[int, str, str, int]] = Counter()
    totals: dict[tuple[str, str, int], tuple[int, float]] = {}
    failures: dict[tuple[int, str, str, int], tuple[int, AttemptRecord]] = {}
    for url, record in attempts:
        outcome, state, name = record.outcome, record.state.value, record.delivery.subscription
        duration_s = outcome.duration_s
        response = NO_ANSWER if outcome.status is None else response_class(duration_s)
        endpoints[int(record.decided_at) // SHORT_S, url, state, response] += 1
        total = (name, state, bound_ms(duration_s))
        count, seconds = totals.get(total, (0, 0.0))
        totals[total] = (count + 1, seconds + duration_s)
        if (why := outcome.why) is not None:
            failure = (_hour(record.started_at), name, why.value, counted_status(outcome.status))
            number, _ = failures.get(failure, (0, record))
            failures[failure] = (number + 1, record)
    db.executemany(
        _ADD_TO_ENDPOINT,
        [
            (span_s, short * SHORT_S // span_s * span_s, *key, number)
            for (short, *key), number in endpoints.items()
            for span_s in (SHORT_S, LONG_S)
        ],
    )
    db.executemany(_ADD_TO_TOTALS, [(*key, *sums) for key, sums in totals.items()])
    if failures:
        db.executemany(
            _ADD_FAILURES,
            [
                (*key, number, last.started_at, last.delivery.seq, last.outcome.detail)
                for key, (number, last) in failures.items()
            ],
        )


def count_defect(
    db: sqlite3.Connection, subscription: str, seq: int, detail: str, *, now: float
) -> None:
    """Add the failure of a delivery whose attempt could not be recorded."""
    values = (_hour(now), subscription, Failure.DEFECT, 0, 1, now, seq, detail)
    db.execute(_ADD_FAILURES, values)


def _hour(moment: float) -> int:
    return int(moment) // _HOUR_S * _HOUR_S
