"""Moves the events of a version 1 queue into version 2's table, in steps of a bounded size.

A queue may hold gigabytes. One transaction would write all of it to the -wal before a byte of the
old table is free: it would need three times the room, and a kill would lose an hour's work. So each
step moves a few thousand events and removes them from the old table, whose pages the next step
uses. A kill leaves each event in exactly one of the two; the next start goes on. The queue has its
new version from the first step on, so that no older relayd opens it meanwhile, and commands that
read say that it is being upgraded.

Logs `queue_upgrading` at the start and every 5 s, `queue_upgraded` at the end. It gives up, with
`DatabaseFullError`, where the disk is full: there must be room for the -wal of one step, some 300 MB.
"""

import json
import sqlite3
import time
from dataclasses import dataclass
from typing import Final

import structlog

from relayd.database import Database
from relayd.queue.sqlite.schema import is_unfinished
from relayd.queue.sqlite.tables import OLD_TABLE, UNKNOWN_MARKET

_log = structlog.get_logger()

STEP_ROWS: Final = 100_000
STEP_BYTES: Final = 64 * 1024 * 1024
"""A step writes twice its size, and most pages of both indexes by id, which are random: larger steps
write less in all, and take more room in the -wal."""
_LOG_EVERY_S: Final = 5.0

_MARKET_KEY: Final = b',"market_id":'

_COUNT = f"SELECT count(*) FROM {OLD_TABLE}"  # noqa: S608 - a constant of our own

_NEXT = f"SELECT seq, coalesce(length(body), 0) FROM {OLD_TABLE} ORDER BY seq LIMIT {STEP_ROWS}"  # noqa: S608 - constants of our own

_MOVE = f"""
INSERT INTO events (seq, market_id, id, type, created, accepted_at, source, digest, body)
SELECT seq, relayd_market(body), id, type, created, accepted_at, source, digest, body
FROM {OLD_TABLE} WHERE seq <= ? ORDER BY seq"""  # noqa: S608 - a constant of our own


@dataclass(frozen=True, slots=True)
class Step:
    """What one step did: how many events it moved, and whether all are moved now."""

    moved: int
    finished: bool


async def finish_migration(writer: Database) -> None:
    """Move what is left of version 1, if anything. Raises `DatabaseError`; what moved stays moved."""
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
            detail="the queue was written by an older relayd; its events are given their markets."
            " If it is killed, the next start continues",
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


def _count(db: sqlite3.Connection) -> int:
    [(left,)] = db.execute(_COUNT).fetchall()
    return int(left)


def move_step(db: sqlite3.Connection) -> Step:
    """Move the next events, in the caller's transaction; drop the old table once it is empty."""
    db.create_function("relayd_market", 1, market_of, deterministic=True)
    rows = db.execute(_NEXT).fetchall()
    size = count = 0
    last = None
    for seq, body_bytes in rows:
        if last is not None and size + body_bytes > STEP_BYTES:
            break
        size += body_bytes
        count += 1
        last = seq
    if last is not None:
        db.execute(_MOVE, (last,))
        db.execute(f"DELETE FROM {OLD_TABLE} WHERE seq <= ?", (last,))  # noqa: S608 - a constant of our own
    if count < len(rows) or len(rows) == STEP_ROWS:
        return Step(count, finished=False)
    db.execute(f"DROP TABLE {OLD_TABLE}")
    return Step(count, finished=True)


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
