"""Moves the times of waiting retries, and of endpoints, by a step of the clock.

A row that changed since it was found has its new time from the new clock, and is left alone.
"""

import sqlite3
from array import array
from collections.abc import Callable

from relayd.core.clock_step import is_from_before, moved_health
from relayd.core.endpoint import Health
from relayd.queue.sqlite.clock_marks import mark_seen
from relayd.queue.sqlite.health import read_health, write_health
from relayd.queue.values import Retries

_WAITING = """
SELECT seq, scheduled_at FROM deliveries
WHERE state = 'retrying' AND due_at IS NOT NULL ORDER BY due_at"""

_MOVE = """
UPDATE deliveries SET due_at = due_at + ?, scheduled_at = scheduled_at + ?
WHERE seq = ? AND state = 'retrying' AND scheduled_at = ?"""

_RELEASED = "SELECT id, released_at FROM subscriptions WHERE released_at IS NOT NULL"
_MOVE_RELEASED = "UPDATE subscriptions SET released_at = released_at + ? WHERE id = ?"

_NEWEST = """
SELECT max(moment) FROM (
  SELECT max(scheduled_at) AS moment FROM deliveries
    WHERE state = 'retrying' AND due_at IS NOT NULL
  UNION ALL SELECT max(released_at) FROM subscriptions
  UNION ALL SELECT max(max(coalesce(released_at, 0), coalesce(failing_since, 0),
    coalesce(failed_since, 0), coalesce(succeeded_at, 0))) FROM endpoints)"""


def newest_decision(db: sqlite3.Connection) -> float:
    """Return the newest time at which something was decided that waits; 0 where nothing does."""
    [(moment,)] = db.execute(_NEWEST).fetchall()
    return float(moment or 0.0)


_NEWEST_BEFORE = """
SELECT max(scheduled_at) FROM deliveries
WHERE state = 'retrying' AND due_at IS NOT NULL AND scheduled_at <= ?"""


def newest_retry_before(db: sqlite3.Connection, moment: float) -> float:
    """Return when the last retry until `moment` was scheduled; 0 where there was none."""
    [(scheduled_at,)] = db.execute(_NEWEST_BEFORE, (moment,)).fetchall()
    return float(scheduled_at or 0.0)


def retries_before_step(
    db: sqlite3.Connection, step: float, stepped_at: float, *, now: float, certain: bool
) -> Retries:
    """Return the retries that were scheduled before a step of the clock, nearest first."""
    seqs, scheduled = array("q"), array("d")
    for seq, scheduled_at in db.execute(_WAITING):
        if is_from_before(scheduled_at, step, stepped_at, now=now, certain=certain):
            seqs.append(seq)
            scheduled.append(scheduled_at)
    return Retries(seqs, scheduled)


def shift_retries(db: sqlite3.Connection, retries: Retries, step: float) -> None:
    """Move these retries' times, of those that did not change since they were found."""
    rows = zip(retries.seqs, retries.scheduled, strict=True)
    db.executemany(_MOVE, ((step, step, seq, moment) for seq, moment in rows))


def shift_endpoints(
    db: sqlite3.Connection,
    step: float,
    stepped_at: float,
    known: Callable[[str], Health | None],
    *,
    now: float,
) -> None:
    """Move the endpoints' times, and remember that the clock was looked at `now`.

    Of an endpoint that `known` has, write that: since the step, an attempt may have written it already.
    """
    written = read_health(db)
    write_health(db, {url: known(url) or moved_health(each, step) for url, each in written.items()})
    released = db.execute(_RELEASED).fetchall()
    moving = [
        (step, number) for number, at in released if is_from_before(at, step, stepped_at, now=now)
    ]
    db.executemany(_MOVE_RELEASED, moving)
    mark_seen(db, now)
