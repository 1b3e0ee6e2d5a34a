"""What is kept of each source's rejected input has a limit, so that no producer fills the disk with it.

Beyond it that source's oldest rejected input is removed, before more of it is taken, and counted under its
code, for `status` and `rejected list`. The newest row always stays, whatever its size.
No other source's rows are touched, and no event.

A row that was removed and is still in its spool, since relayd was killed before it was deleted there, is
rejected again: its fingerprint is not remembered, or the fingerprints would fill the disk.
"""

import sqlite3
from dataclasses import dataclass
from typing import Final

from relayd.queue.snapshot_values import RemovedInput
from relayd.queue.sqlite.tables import kept_size

_STEP_ROWS: Final = 1_000
_STEP_BYTES: Final = 4 * 1024 * 1024
"""About so much is removed in one transaction, which holds up all others."""
_MOST_CODES: Final = 32
_OTHER: Final = "other"
"""The code under which further ones of a source are counted: a reader that was taken over names any."""

_SIZE = kept_size("rejected")

_OLDEST = f"""
SELECT seq, code, {_SIZE} FROM rejected INDEXED BY rejected_of_source
WHERE source = :source
  AND seq < (SELECT max(seq) FROM rejected INDEXED BY rejected_of_source WHERE source = :source)
ORDER BY seq LIMIT {_STEP_ROWS}"""  # noqa: S608 - constants of our own

_REMOVE: Final = """
DELETE FROM rejected WHERE seq IN (
  SELECT seq FROM rejected INDEXED BY rejected_of_source WHERE source = ? AND seq <= ?)"""

_COUNT: Final = """
INSERT INTO rejected_removed (source, code, count, bytes, first_at, last_at)
VALUES (?1, ?2, ?3, ?4, ?5, ?5)
ON CONFLICT (source, code) DO UPDATE
  SET count = count + excluded.count, bytes = bytes + excluded.bytes, last_at = excluded.last_at"""


@dataclass(frozen=True, slots=True)
class Removal:
    """What one transaction removed of a source's rejected input. `more`: it is still too much."""

    count: int = 0
    bytes: int = 0
    more: bool = False


def takes_too_much(db: sqlite3.Connection, source: str, most_bytes: int) -> bool:
    """Return whether a source's rejected input takes more than `most_bytes`."""
    return _kept_bytes(db, source) > most_bytes


def remove_oldest(db: sqlite3.Connection, source: str, *, most_bytes: int, now: float) -> Removal:
    """Remove some of a source's oldest rejected input where it takes more than `most_bytes`.

    In the caller's transaction, about `_STEP_BYTES` at once. `now` is in Unix seconds.
    """
    over = _kept_bytes(db, source) - most_bytes
    if over <= 0:
        return Removal()
    found: dict[str, tuple[int, int]] = {}
    last = size = 0
    oldest = db.execute(_OLDEST, {"source": source}).fetchall()
    for seq, code, row_bytes in oldest:
        if size >= min(over, _STEP_BYTES):
            break
        count, total = found.get(code, (0, 0))
        found[code] = (count + 1, total + row_bytes)
        size += row_bytes
        last = seq
    db.execute(_REMOVE, (source, last))
    _count(db, source, found, now)
    return Removal(
        sum(count for count, _ in found.values()), size, more=bool(oldest) and size < over
    )


def _kept_bytes(db: sqlite3.Connection, source: str) -> int:
    kept = db.execute("SELECT bytes FROM rejected_kept WHERE source = ?", (source,)).fetchone()
    return 0 if kept is None else int(kept[0])


def _count(
    db: sqlite3.Connection, source: str, found: dict[str, tuple[int, int]], now: float
) -> None:
    codes = {each.code for each in read_removed(db) if each.source == source}
    for code, (count, size) in found.items():
        known = code in codes or len(codes) < _MOST_CODES
        codes.add(code if known else _OTHER)
        db.execute(_COUNT, (source, code if known else _OTHER, count, size, now))


def read_removed(db: sqlite3.Connection) -> list[RemovedInput]:
    """Return what was removed for the limit, by source and code."""
    rows = db.execute(
        "SELECT source, code, count, bytes, first_at, last_at FROM rejected_removed"
        " ORDER BY source, code"
    )
    return [RemovedInput(*row) for row in rows]
