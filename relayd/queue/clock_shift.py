"""Moves the times of waiting retries, and of endpoints, when the wall clock was set.

One retry at a time it is a matter of adding; a million of them are moved in steps, nearest first,
so that what is delivered meanwhile waits little. A row that changed since it was looked at has its
new time from the new clock, and is left alone.
"""

import sqlite3
from array import array
from collections.abc import Mapping
from functools import partial
from typing import Final

import structlog
import trio

from relayd.core.clock_step import is_from_before, moved_health
from relayd.database import DatabaseBusyError, DatabaseFullError
from relayd.queue.sqlite.accept import Numbers
from relayd.queue.sqlite.clock_marks import mark_seen
from relayd.queue.sqlite.health import read_health, write_health
from relayd.queue.sqlite.operate import Operation
from relayd.queue.sqlite.queue import Queue

_log = structlog.get_logger()

STEP_ROWS: Final = 2_000
"""Takes some 10 ms, for which other transactions wait."""
PAUSE_S: Final = 0.005
_STORAGE_RETRY_S: Final = 1.0

_WAITING = """
SELECT seq, scheduled_at FROM deliveries
WHERE state = 'retrying' AND due_at IS NOT NULL ORDER BY due_at"""

_MOVE = """
UPDATE deliveries SET due_at = due_at + ?, scheduled_at = scheduled_at + ?
WHERE seq = ? AND state = 'retrying' AND scheduled_at = ?"""

_MOVE_SUBSCRIPTIONS = "UPDATE subscriptions SET released_at = released_at + ?"

_NEWEST = """
SELECT max(moment) FROM (
  SELECT max(scheduled_at) AS moment FROM deliveries
    WHERE state = 'retrying' AND due_at IS NOT NULL
  UNION ALL SELECT max(released_at) FROM subscriptions
  UNION ALL SELECT max(max(coalesce(released_at, 0), coalesce(failing_since, 0),
    coalesce(failed_since, 0), coalesce(succeeded_at, 0))) FROM endpoints)"""


def newest(db: sqlite3.Connection) -> float:
    """Return the newest time at which something was decided that waits; 0 where nothing does."""
    [(moment,)] = db.execute(_NEWEST).fetchall()
    return float(moment or 0.0)


_NEWEST_BEFORE = """
SELECT max(scheduled_at) FROM deliveries
WHERE state = 'retrying' AND due_at IS NOT NULL AND scheduled_at <= ?"""


def newest_before(db: sqlite3.Connection, moment: float) -> float:
    """Return when the last retry until `moment` was scheduled; 0 where there was none."""
    [(scheduled_at,)] = db.execute(_NEWEST_BEFORE, (moment,)).fetchall()
    return float(scheduled_at or 0.0)


async def move_endpoints(queue: Queue, step: float, now: float) -> None:
    """Move the endpoints' times by a step of the clock, after which it is `now`.

    The queue remembers `now` as the time when the clock was last looked at. Raises `DatabaseError`.
    """

    def move(db: sqlite3.Connection, _: Numbers, __: Mapping[str, int]) -> None:
        known = read_health(db)
        write_health(db, {url: moved_health(each, step) for url, each in known.items()})
        db.execute(_MOVE_SUBSCRIPTIONS, (step,))
        mark_seen(db, now)

    await _patiently(queue, move)


async def move_retries(queue: Queue, step: float, now: float, *, certain: bool = True) -> int:
    """Move the retries that were scheduled before a step of the clock; return how many.

    `now` is the moment just after the step, in Unix seconds; for `certain` see `core.clock_step`.
    Cancelled, or killed, it leaves the
    rest as it was: they are due early or late by the step. Raises `DatabaseError`.
    """
    seqs, scheduled = array("q"), array("d")

    def look(db: sqlite3.Connection) -> None:
        for seq, scheduled_at in db.execute(_WAITING):
            if is_from_before(scheduled_at, step, now, certain=certain):
                seqs.append(seq)
                scheduled.append(scheduled_at)

    await queue.look(look)
    for begin in range(0, len(seqs), STEP_ROWS):
        chunk = slice(begin, begin + STEP_ROWS)
        await _patiently(
            queue, partial(_move, step=step, seqs=seqs[chunk], scheduled=scheduled[chunk])
        )
        await trio.sleep(PAUSE_S)
    return len(seqs)


async def _patiently(queue: Queue, operation: Operation[None]) -> None:
    while True:
        try:
            return await queue.operate(operation)
        except (DatabaseBusyError, DatabaseFullError) as error:
            _log.warning("queue_unavailable", detail=str(error))
            await trio.sleep(_STORAGE_RETRY_S)


def _move(
    db: sqlite3.Connection,
    _: Numbers,
    __: Mapping[str, int],
    *,
    step: float,
    seqs: "array[int]",
    scheduled: "array[float]",
) -> None:
    rows = zip(seqs, scheduled, strict=True)
    db.executemany(_MOVE, ((step, step, seq, moment) for seq, moment in rows))
