"""What came of attempts lately and how long they took, by endpoint: counted by `attempt_counts`.

Kept in spans of five minutes for the last hour, and of an hour for the last day: asking for a rate
reads a few rows, however many attempts there were.
"""

import sqlite3

from relayd.core.delivery import State
from relayd.core.durations import NO_ANSWER
from relayd.queue.overview_values import Hour, Tallies, Tally
from relayd.queue.sqlite.attempt_counts import LONG_S, SHORT_S

_HOUR_S = 3600.0
_DAY_S = 86_400.0
_KEPT_S = 2 * _DAY_S

_SUM = """
SELECT url, state, response, sum(count) FROM attempt_counts
WHERE span_s = ? AND since > ? AND since <= ? GROUP BY url, state, response"""

_HOURS = """
SELECT url, since, total(CASE WHEN state = ? THEN count END), total(CASE WHEN state <> ? THEN count END)
FROM attempt_counts WHERE span_s = ? AND since > ? AND since <= ? GROUP BY url, since ORDER BY since"""


def forget(db: sqlite3.Connection, *, now: float) -> None:
    """Remove what no answer looks at any more."""
    for span_s in (SHORT_S, LONG_S):
        db.execute(
            "DELETE FROM attempt_counts WHERE span_s = ? AND since < ?", (span_s, now - _KEPT_S)
        )


def read_tallies(db: sqlite3.Connection, *, now: float) -> dict[str, Tallies]:
    """Return each endpoint's tallies by URL, of those where there were attempts.

    The hour is one of 60 to 65 minutes, the day one of 24 to 25 hours.
    """
    # Not what was counted while the clock was ahead.
    hours = _read(db, SHORT_S, now - _HOUR_S - SHORT_S, now)
    days = _read(db, LONG_S, now - _DAY_S - LONG_S, now)
    return {url: Tallies(hours.get(url, Tally()), days.get(url, Tally())) for url in hours | days}


def read_hours(db: sqlite3.Connection, *, now: float) -> dict[str, list[Hour]]:
    """Return the last 24 to 25 hours of each endpoint by URL, oldest first: those with attempts."""
    found: dict[str, list[Hour]] = {}
    asked = (State.DELIVERED, State.DELIVERED, LONG_S, now - _DAY_S - LONG_S, now)
    for url, since, delivered, failed in db.execute(_HOURS, asked):
        found.setdefault(url, []).append(Hour(since, int(delivered), int(failed)))
    return found


def _read(db: sqlite3.Connection, span_s: int, since: float, until: float) -> dict[str, Tally]:
    tallies: dict[str, Tally] = {}
    for url, state, response, number in db.execute(_SUM, (span_s, since, until)):
        tally = tallies.setdefault(url, Tally())
        if state == State.DELIVERED:
            tally.delivered += number
        else:
            tally.failed += number
        if state == State.EXHAUSTED:
            tally.exhausted += number
        if response != NO_ANSWER:
            tally.response_classes[response] += number
    return tallies
