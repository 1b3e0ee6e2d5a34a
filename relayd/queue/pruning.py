"""Removes what has been kept for the retention: events whose deliveries have all ended, with those.

In small steps with pauses between them, each one transaction that looks at its events anew, so
that nothing is held up, and nothing is removed that was replayed meanwhile. What to remove is
looked for over a connection of its own. An event's id stays known for 30 days at least, so that a
producer's second try is known as one: with a shorter retention, only the body goes at first.
"""

import json
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import structlog
import trio

from relayd.database import Database, DatabaseBusyError, DatabaseFullError
from relayd.queue import statistics
from relayd.queue.queue import Queue

_log = structlog.get_logger()

IDS_KEPT_S: Final = 30 * 86_400.0
STEP_EVENTS: Final = 200
STEP_ROWS: Final = 1_000
"""Events, deliveries and attempts together, of which one event alone may have more."""
STEP_BYTES: Final = 4 * 1024 * 1024
PAUSE_S: Final = 0.05
INTERVAL_S: Final = 300.0
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
    """UPDATE events SET body = NULL WHERE seq IN (SELECT value FROM json_each(:seqs))
  AND body IS NOT NULL""",
)


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
    return len(still)


class Pruning:
    """Removes what is past the retention, as long as it runs. `clock` gives Unix seconds."""

    def __init__(
        self, queue: Queue, path: Path, retention_s: float, clock: Callable[[], float]
    ) -> None:
        self._queue = queue
        self._path = path
        self._retention_s = retention_s
        self._clock = clock
        self._changed = trio.Event()

    def apply(self, retention_s: float) -> None:
        """Keep for so long from now on."""
        if retention_s != self._retention_s:
            self._retention_s = retention_s
            self._changed.set()

    async def run(self) -> None:
        """Remove what may go, again and again, until cancelled. Raises `DatabaseError`."""
        async with Database.open(self._path, pragmas=_PRAGMAS) as reader:
            while True:
                self._changed = trio.Event()
                try:
                    removed = await self._prune(reader)
                except (DatabaseBusyError, DatabaseFullError) as error:
                    _log.warning("pruning_waits", detail=str(error))
                else:
                    if removed:
                        _log.info("pruned", events=removed)
                with trio.move_on_after(INTERVAL_S):
                    await self._changed.wait()

    async def _prune(self, reader: Database) -> int:
        horizon = Horizon.at(self._clock(), self._retention_s)
        await self._queue.operate(lambda db, *_: statistics.forget(db, now=self._clock()))
        removed = 0
        cursor: Cursor | None = Cursor()
        while cursor is not None and not self._changed.is_set():
            step = await reader.run(partial(find_step, horizon=horizon, cursor=cursor))
            cursor = step.cursor
            if step.events:
                removed += await self._remove(horizon, step.events)
                await trio.sleep(PAUSE_S)
        return removed

    async def _remove(self, horizon: Horizon, events: tuple[int, ...]) -> int:
        return await self._queue.operate(lambda db, *_: remove(db, horizon, events))
