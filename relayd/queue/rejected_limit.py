"""What is kept of each source's rejected input has a limit, so that no producer fills the disk with it.

Beyond it that source's oldest rejected input is removed, in the transaction that brings more, and
counted under its code, for `status` and `rejected list`. The newest row always stays, whatever its size.
No other source's rows are touched, and no event.

A row that was removed and is still in its spool, since relayd was killed before it was deleted there, is
rejected again: its fingerprint is not remembered, or the fingerprints would fill the disk.
"""

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from relayd.queue.schema import rejected_size

_STEP_ROWS: Final = 1_000
_STEP_BYTES: Final = 4 * 1024 * 1024
"""So much more than was added is removed in one transaction, where a limit was lowered."""
_MOST_CODES: Final = 32
_OTHER: Final = "other"
"""The code under which further ones of a source are counted: a reader that was taken over names any."""

_SIZE = rejected_size("rejected")

_ADDED = f"""
SELECT sum({_SIZE}) FROM (
  SELECT * FROM rejected INDEXED BY rejected_of_source WHERE source = ? ORDER BY seq DESC LIMIT ?
) AS rejected"""  # noqa: S608 - constants of our own

_OLDEST = f"""
SELECT seq, code, {_SIZE} FROM rejected INDEXED BY rejected_of_source
WHERE source = :source
  AND seq < (SELECT max(seq) FROM rejected INDEXED BY rejected_of_source WHERE source = :source)
ORDER BY seq LIMIT {_STEP_ROWS}"""  # noqa: S608 - constants of our own

_COUNT = """
INSERT INTO rejected_removed (source, code, count, bytes, first_at, last_at)
VALUES (?1, ?2, 1, ?3, ?4, ?4)
ON CONFLICT (source, code) DO UPDATE
  SET count = count + 1, bytes = bytes + excluded.bytes, last_at = excluded.last_at"""


@dataclass(frozen=True, slots=True)
class Removed:
    """Rejected input of one source that was removed for the limit, by code. Times are Unix seconds."""

    source: str
    code: str
    count: int
    bytes: int
    first_at: float
    last_at: float


@dataclass(frozen=True, slots=True)
class Removal:
    """What one transaction removed of a source's rejected input."""

    source: str
    count: int
    bytes: int


def keep_within(
    db: sqlite3.Connection, added: Iterable[str], *, most_bytes: int, now: float
) -> list[Removal]:
    """Remove what is too much of the sources of rows that were added, in the caller's transaction.

    `added` has one source for each row. `now` is in Unix seconds.
    """
    counts: dict[str, int] = {}
    for source in added:
        counts[source] = counts.get(source, 0) + 1
    removals = (_keep(db, each, counts[each], most_bytes, now) for each in counts)
    return [removal for removal in removals if removal.count]


def read_removed(db: sqlite3.Connection) -> list[Removed]:
    """Return what was removed for the limit, by source and code."""
    rows = db.execute(
        "SELECT source, code, count, bytes, first_at, last_at FROM rejected_removed"
        " ORDER BY source, code"
    )
    return [Removed(*row) for row in rows]


def _keep(db: sqlite3.Connection, source: str, added: int, most_bytes: int, now: float) -> Removal:
    kept = db.execute("SELECT bytes FROM rejected_kept WHERE source = ?", (source,)).fetchone()
    over = (kept[0] if kept else 0) - most_bytes
    if over <= 0:
        return Removal(source, 0, 0)
    [(added_bytes,)] = db.execute(_ADDED, (source, added)).fetchall()
    over = min(over, added_bytes + _STEP_BYTES)
    codes = {each.code for each in read_removed(db) if each.source == source}
    oldest = db.execute(_OLDEST, {"source": source}).fetchall()
    count = size = 0
    for seq, code, row_bytes in oldest:
        if size >= over:
            break
        if code not in codes and len(codes) >= _MOST_CODES:
            code = _OTHER  # noqa: PLW2901 - counted under that name
        codes.add(code)
        db.execute("DELETE FROM rejected WHERE seq = ?", (seq,))
        db.execute(_COUNT, (source, code, row_bytes, now))
        count += 1
        size += row_bytes
    return Removal(source, count, size)
