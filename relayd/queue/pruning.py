"""Removes what has been kept for the retention: ended events with their deliveries, rejected input.

While the queue is larger than it may be, the oldest rejected input goes before that, then the oldest
events whose deliveries have all ended; never what still waits. What time it is for all this, and
whether the clock is believed, says `core.expiry`.

In small steps with pauses between them, each one transaction that looks at its events anew, so
that nothing is held up, and nothing is removed that was replayed meanwhile. What to remove is
looked for over a connection of its own. An event's id stays known for 30 days at least, so that a
producer's second try is known as one: with a shorter retention, only the body goes at first.

Logs `pruned` and `rejected_pruned` with what went, `expiry_waits` before it would go by a clock that
may be wrong and `expiry_goes_on` when it does, `queue_too_large` when nothing is left that may go.
"""

import json
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from math import inf
from typing import Final

import structlog
import trio

from relayd.config.sections import QueueConfig
from relayd.core.expiry import Expiry, Steadiness, decide
from relayd.database import Database, DatabaseBusyError, DatabaseFullError
from relayd.queue import statistics
from relayd.queue.clock_marks import mark_expired, mark_seen, read_evidence
from relayd.queue.contents import read_contents
from relayd.queue.queue import Queue
from relayd.queue.rejected import forget_left, remove_rows

_log = structlog.get_logger()

IDS_KEPT_S: Final = 30 * 86_400.0
STEP_EVENTS: Final = 200
STEP_ROWS: Final = 1_000
"""Events, deliveries and attempts together, of which one event alone may have more."""
STEP_BYTES: Final = 4 * 1024 * 1024
PAUSE_S: Final = 0.05
INTERVAL_S: Final = 300.0
SIZE_INTERVAL_S: Final = 10.0
REJECTED_STEP_ROWS: Final = 1_000
SETTLED_S: Final = 600.0
"""What ended so lately stays at any size: an attempt under way may still be recorded for it."""
_PRAGMAS: Final = ("query_only = ON", "trusted_schema = OFF", "cache_size = -2000")


@dataclass(frozen=True, slots=True)
class Horizon:
    """What may go, in Unix seconds: what ended before `ended`, and ids accepted before `known`."""

    ended: float
    known: float

    @classmethod
    def at(cls, now: float, retention_s: float) -> "Horizon":
        """Return the horizon of a moment."""
        return cls(now - retention_s, now - max(retention_s, IDS_KEPT_S))


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a search has come, in the order of the index `events_listed`."""

    accepted_at: float = 0.0
    event_type: str = ""
    seq: int = 0


@dataclass(frozen=True, slots=True)
class Step:
    """Events to remove in one transaction, and where the search goes on; None at its end."""

    events: tuple[int, ...]
    cursor: Cursor | None


# An event was accepted before its deliveries ended, so that nothing newer need be looked at.
_ENDED = """
NOT EXISTS (SELECT 1 FROM deliveries d WHERE d.event_seq = e.seq
  AND (d.ended_at IS NULL OR d.ended_at >= :ended))"""

_CANDIDATES = f"""
SELECT e.accepted_at, e.type, e.seq, coalesce(length(e.body), 0),
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
    """DELETE FROM attempts WHERE delivery_seq IN
  (SELECT seq FROM deliveries WHERE event_seq IN (SELECT value FROM json_each(:seqs)))""",
    "DELETE FROM deliveries WHERE event_seq IN (SELECT value FROM json_each(:seqs))",
    """DELETE FROM events WHERE seq IN (SELECT value FROM json_each(:seqs))
  AND accepted_at < :known""",
)

# What stays of a younger one, its id above all. It is removed and put back, since SQLite frees no
# room for a row that only becomes shorter: of 144,000 events of 600 bytes, 26 MB came free.
_REST = """
SELECT seq, market_id, id, type, created, accepted_at, source, digest FROM events
WHERE seq IN (SELECT value FROM json_each(:seqs)) ORDER BY seq"""

_REMOVE_REST = "DELETE FROM events WHERE seq IN (SELECT value FROM json_each(:seqs))"

_PUT_BACK = """
INSERT INTO events (seq, market_id, id, type, created, accepted_at, source, digest, body)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, NULL)"""


def find_step(db: sqlite3.Connection, horizon: Horizon, cursor: Cursor) -> Step:
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
            return Step(tuple(events), cursor)
        events.append(seq)
        cursor = Cursor(accepted_at, event_type, seq)
    return Step(tuple(events), cursor if len(rows) == STEP_EVENTS else None)


def remove(db: sqlite3.Connection, horizon: Horizon, events: tuple[int, ...]) -> int:
    """Remove those of the events that may still go, in the caller's transaction; return how many."""
    values = {"ended": horizon.ended, "known": horizon.known, "seqs": json.dumps(events)}
    still = [seq for (seq,) in db.execute(_STILL, values)]
    values["seqs"] = json.dumps(still)
    for statement in _REMOVALS:
        db.execute(statement, values)
    rest = db.execute(_REST, values).fetchall()
    db.execute(_REMOVE_REST, values)
    db.executemany(_PUT_BACK, rest)
    return len(still)


_REJECTED = f"""
SELECT seq, coalesce(length(data), 0) + coalesce(length(id), 0) + coalesce(length(type), 0)
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


class Pruning:
    """Removes what may go, as long as it runs. `clock` gives Unix seconds.

    `steadiness` says for how long the clock has run evenly. `too_large` says that the queue is
    larger than it may be, and nothing is left that may go.
    """

    def __init__(
        self,
        queue: Queue,
        config: QueueConfig,
        clock: Callable[[], float],
        steadiness: Callable[[], Steadiness] = lambda: Steadiness(inf, stepped=False),
    ) -> None:
        self._queue = queue
        self._config = config
        self._clock = clock
        self._steadiness = steadiness
        self._waiting = False
        self._changed = trio.Event()
        self._cursor: Cursor | None = None
        self.too_large = False

    def apply(self, config: QueueConfig) -> None:
        """Keep as this configuration says from now on."""
        if config != self._config:
            self._config = config
            self._changed.set()

    async def run(self) -> None:
        """Remove what may go, again and again, until cancelled. Raises `DatabaseError`."""
        async with Database.open(self._config.path, pragmas=_PRAGMAS) as reader:
            while True:
                self._changed = trio.Event()
                await self._patiently(self._by_age, reader)
                again_at = trio.current_time() + INTERVAL_S
                # From the oldest on: what was passed, since it still waited, may have ended by now.
                self._cursor = Cursor()
                while not self._changed.is_set() and trio.current_time() < again_at:
                    await self._patiently(self._by_size, reader)
                    with trio.move_on_after(SIZE_INTERVAL_S):
                        await self._changed.wait()

    async def _patiently(
        self, prune: Callable[[Database], Awaitable[int]], reader: Database
    ) -> None:
        try:
            removed = await prune(reader)
        except (DatabaseBusyError, DatabaseFullError) as error:
            _log.warning("pruning_waits", detail=str(error))
        else:
            if removed:
                _log.info("pruned", events=removed)

    async def _by_age(self, reader: Database) -> int:
        now = self._clock()
        expiry = await self._expiry(reader, now)
        # The warning comes before anything goes.
        self._tell_expiry(expiry)

        def remember(db: sqlite3.Connection, *_: object) -> None:
            mark_seen(db, now)
            mark_expired(db, expiry.stands_at)
            statistics.forget(db, now=expiry.horizon)
            forget_left(db, horizon.known)

        horizon = Horizon.at(expiry.horizon, self._config.retention_s)
        await self._queue.operate(remember)
        await self._remove_rejected(horizon.ended)
        removed = 0
        cursor: Cursor | None = Cursor()
        while cursor is not None and not self._changed.is_set():
            count, cursor = await self._step(reader, horizon, cursor)
            removed += count
        return removed

    async def _by_size(self, reader: Database) -> int:
        most = self._config.max_bytes
        removed = 0
        if most is None or await reader.run(used_bytes) <= most:
            return self._tell_fits()
        now = (await self._expiry(reader, self._clock())).horizon
        horizon = Horizon(now - SETTLED_S, Horizon.at(now, self._config.retention_s).known)
        await self._remove_rejected_by_size(reader, most)
        while (used := await reader.run(used_bytes)) > most:
            if self._changed.is_set():
                return removed
            if self._cursor is None:
                await self._tell(reader, used, most)
                return removed
            count, self._cursor = await self._step(reader, horizon, self._cursor)
            removed += count
        self._tell_fits()
        return removed

    async def _expiry(self, reader: Database, now: float) -> Expiry:
        evidence = await reader.run(read_evidence)
        return decide(now, self._steadiness(), evidence, retention_s=self._config.retention_s)

    async def _remove_rejected(self, before: float) -> None:
        removed = 0
        while gone := await self._queue.operate(lambda db, *_: remove_rejected(db, before)):
            removed += gone
            await trio.sleep(PAUSE_S)
        if removed:
            _log.info("rejected_pruned", rows=removed, reason="retention")

    async def _remove_rejected_by_size(self, reader: Database, most: int) -> None:
        removed = 0
        while await reader.run(used_bytes) > most and not self._changed.is_set():
            gone = await self._queue.operate(lambda db, *_: remove_rejected(db, inf))
            if not gone:
                break
            removed += gone
            await trio.sleep(PAUSE_S)
        if removed:
            _log.warning(
                "rejected_pruned",
                rows=removed,
                reason="max_size",
                max_bytes=most,
                detail=(
                    "the queue was larger than queue.max_size, and the oldest rejected input was"
                    " removed before any event"
                ),
            )

    async def _step(
        self, reader: Database, horizon: Horizon, cursor: Cursor
    ) -> tuple[int, Cursor | None]:
        step = await reader.run(partial(find_step, horizon=horizon, cursor=cursor))
        if not step.events:
            return 0, step.cursor
        removed = await self._queue.operate(lambda db, *_: remove(db, horizon, step.events))
        await trio.sleep(PAUSE_S)
        return removed, step.cursor

    def _tell_expiry(self, expiry: Expiry) -> None:
        waits = expiry.waits_s > 0
        if waits and not self._waiting:
            _log.warning(
                "expiry_waits",
                ahead_s=round(expiry.ahead_s),
                waits_s=round(expiry.waits_s),
                detail="the clock was set, or is far ahead of when relayd last looked: nothing"
                " expires until it has been steady. If it is wrong, set it; what is older than"
                " queue.retention by it goes after that, a day's worth at a time",
            )
        elif self._waiting and not waits:
            _log.warning("expiry_goes_on", ahead_s=round(expiry.ahead_s))
        self._waiting = waits

    def _tell_fits(self) -> int:
        if self.too_large:
            self.too_large = False
            _log.info("queue_fits_again")
        return 0

    async def _tell(self, reader: Database, used: int, most: int) -> None:
        if not self.too_large:
            filled_by = await reader.run(read_contents)
            self.too_large = True
            _log.warning(
                "queue_too_large",
                bytes=used,
                max_bytes=most,
                events_bytes=filled_by.events,
                attempts_bytes=filled_by.attempts,
                rejected_bytes=filled_by.rejected,
                other_bytes=filled_by.other,
                detail=(
                    "it is larger than queue.max_size, and nothing in it has ended: pending"
                    " deliveries and ids are kept. `relayd status` shows the backlog"
                ),
            )
