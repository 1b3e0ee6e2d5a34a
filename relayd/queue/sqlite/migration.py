"""Brings the events of an older queue to this version, in steps of a bounded size.

Version 1 had another table, from which its events are moved; versions 2 and 3 had no sequence numbers and
object ids, which its events are given. A queue may hold gigabytes. One transaction would write all of
it to the -wal before a byte of the old table is free: it would need three times the room, and a kill
would lose an hour's work. So each step takes a few thousand events, in their order, and what is moved
is removed from the old table, whose pages the next step uses. A kill leaves each event in exactly one
of the two; the next start continues. The queue has its new version from the first step on, so that no
older relayd opens it meanwhile, and commands that read say that it is being upgraded.

Logs `queue_upgrading` at the start and every 5 s, `queue_upgraded` at the end. It gives up, with
`QueueUnavailable`, where the disk is full: there must be room for the -wal of one step, some 300 MB.
"""

import json
import sqlite3
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import structlog

from relayd.core.js_json import Parsed, parse_json
from relayd.core.object_id import id_text
from relayd.core.sequence import next_sequence
from relayd.database import Database
from relayd.queue.sqlite import totals
from relayd.queue.sqlite.schema import is_unfinished
from relayd.queue.sqlite.sequences import first_unnumbered, last_sequence
from relayd.queue.sqlite.tables import OLD_TABLE, UNKNOWN_MARKET

_log = structlog.get_logger()

STEP_ROWS: Final = 100_000
STEP_BYTES: Final = 64 * 1024 * 1024
"""A step writes twice its size, and most pages of both indexes by id, which are random: larger steps
write less in all, and take more room in the -wal."""
_LOG_EVERY_S: Final = 5.0

_MARKET_KEY: Final = b',"market_id":'

_OBJECT_ID = """
CASE WHEN json_valid(CAST(body AS TEXT))
  THEN relayd_object_id(CAST(body AS TEXT) -> '$.data.object.id') END"""

_COUNT_OLD = f"SELECT count(*) FROM {OLD_TABLE}"  # noqa: S608 - a constant of our own

_NEXT_OLD = f"SELECT seq, coalesce(length(body), 0) FROM {OLD_TABLE} ORDER BY seq LIMIT {STEP_ROWS}"  # noqa: S608 - constants of our own

_MOVE = f"""
INSERT INTO events
  (seq, market_id, id, type, created, accepted_at, source, digest, body, sequence, object_id)
SELECT seq, relayd_market(body), id, type, created, accepted_at, source, digest, body,
  relayd_sequence(accepted_at), {_OBJECT_ID}
FROM {OLD_TABLE} WHERE seq <= ? ORDER BY seq"""  # noqa: S608 - constants of our own

_SOURCES = f"SELECT source FROM {OLD_TABLE} WHERE seq <= ?"  # noqa: S608 - a constant of our own

_COUNT_UNNUMBERED = "SELECT count(*) FROM events WHERE seq >= ?"

_NEXT_UNNUMBERED = f"""
SELECT seq, coalesce(length(body), 0), accepted_at FROM events
WHERE seq >= ? ORDER BY seq LIMIT {STEP_ROWS}"""  # noqa: S608 - constants of our own

_NUMBER = f"UPDATE events SET sequence = ?, object_id = {_OBJECT_ID} WHERE seq = ?"  # noqa: S608 - a constant of our own


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did: how many events it moved or numbered, and whether that is done for all."""

    moved: int
    finished: bool


async def finish_migration(writer: Database) -> None:
    """Bring what is left of older versions to this one, if anything.

    Raises `QueueError`; what is done stays done.
    """
    if not await writer.run(is_unfinished):
        return
    left = await writer.run(_count)
    moved = 0
    told_at = begun_at = time.monotonic()
    if left:
        _log.warning(
            "queue_upgrading",
            path=str(writer.path),
            events=left,
            detail="the queue was written by an older relayd; its events are given what this one"
            " keeps of each. If it is killed, the next start continues",
        )
    while True:
        step = await writer.write(move_step)
        moved += step.moved
        if step.finished:
            break
        if time.monotonic() - told_at >= _LOG_EVERY_S:
            told_at = time.monotonic()
            _log.info("queue_upgrading", events=left, moved=moved)
    if left:
        _log.info("queue_upgraded", events=moved, duration_s=round(time.monotonic() - begun_at, 1))


def _has_old_table(db: sqlite3.Connection) -> bool:
    found = db.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (OLD_TABLE,)).fetchone()
    return found is not None


def _count(db: sqlite3.Connection) -> int:
    left = 0
    if _has_old_table(db):
        [(left,)] = db.execute(_COUNT_OLD).fetchall()
    first = first_unnumbered(db)
    if first is not None:
        [(unnumbered,)] = db.execute(_COUNT_UNNUMBERED, (first,)).fetchall()
        left += unnumbered
    return int(left)


def move_step(db: sqlite3.Connection) -> Step:
    """Give the next events what they lack, in the caller's transaction.

    What was moved by a relayd that numbered none comes first, since it is older. The old table is
    dropped once it is empty.
    """
    newest = last_sequence(db)

    def number(accepted_at: float) -> int:
        nonlocal newest
        newest = next_sequence(newest, accepted_at)
        return newest

    db.create_function("relayd_market", 1, market_of, deterministic=True)
    db.create_function("relayd_object_id", 1, _object_id_of, deterministic=True)
    db.create_function("relayd_sequence", 1, number)
    first = first_unnumbered(db)
    if first is not None:
        rows = db.execute(_NEXT_UNNUMBERED, (first,)).fetchall()
        count = _within_a_step(rows)
        db.executemany(_NUMBER, [(number(at), seq) for seq, _, at in rows[:count]])
        return Step(count, finished=False)
    if not _has_old_table(db):
        return Step(0, finished=True)
    rows = db.execute(_NEXT_OLD).fetchall()
    count = _within_a_step(rows)
    if count:
        last = rows[count - 1][0]
        # Those that are in the new table already were counted when the totals were made.
        totals.count_accepted(db, (source for (source,) in db.execute(_SOURCES, (last,))))
        db.execute(_MOVE, (last,))
        db.execute(f"DELETE FROM {OLD_TABLE} WHERE seq <= ?", (last,))  # noqa: S608 - a constant of our own
    if count < len(rows) or len(rows) == STEP_ROWS:
        return Step(count, finished=False)
    db.execute(f"DROP TABLE {OLD_TABLE}")
    return Step(count, finished=True)


def _within_a_step(rows: Sequence[tuple[Any, ...]]) -> int:
    """Return how many of these events, each with the size of its body, one step takes."""
    size = 0
    for count, (_, body_bytes, *_) in enumerate(rows):
        if count and size + body_bytes > STEP_BYTES:
            return count
        size += body_bytes
    return len(rows)


def _object_id_of(found: str | None) -> str | None:
    """Return what `core.object_id` makes of a value in a body, given as JSON."""
    parsed = None if found is None else parse_json(found)
    return id_text(parsed.value) if isinstance(parsed, Parsed) else None


def market_of(body: bytes | None) -> str:
    """Return the market that a body names, which is all that version 1 kept of it.

    It is the last `market_id` in the text: behind it there are only the two labels, in which each
    quotation mark is escaped.
    """
    if body is None:
        return UNKNOWN_MARKET
    _, found, rest = body.rpartition(_MARKET_KEY)
    try:
        market = json.loads(b'{"market_id":' + rest)["market_id"] if found else UNKNOWN_MARKET
    except (ValueError, KeyError, TypeError):
        return UNKNOWN_MARKET  # no body that relayd wrote; its id is kept all the same
    return market if isinstance(market, str) else UNKNOWN_MARKET
