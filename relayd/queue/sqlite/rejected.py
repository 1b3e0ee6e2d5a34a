"""The rejected list: what sources brought that cannot be an event, for the operator to mend."""

import json
import sqlite3
from collections.abc import Iterable

from relayd.core.event import SpoolRow
from relayd.queue.snapshot_values import ListedInput, RejectedInput


def list_rejected(db: sqlite3.Connection, *, limit: int) -> list[ListedInput]:
    """Return rejected rows, the newest first."""
    rows = db.execute(
        "SELECT seq, source, rejected_at, code, reason FROM rejected ORDER BY seq DESC LIMIT ?",
        (limit,),
    )
    return [ListedInput(*row) for row in rows]


def is_rejected(db: sqlite3.Connection, seq: int) -> bool:
    """Return whether the list has this row."""
    return db.execute("SELECT 1 FROM rejected WHERE seq = ?", (seq,)).fetchone() is not None


def read_rejected(db: sqlite3.Connection, seq: int) -> RejectedInput | None:
    """Return one rejected row, or None where there is none."""
    row = db.execute(
        "SELECT source, rejected_at, code, reason, fingerprint, webhook,"
        " id, type, data, created, market_id, api_version FROM rejected WHERE seq = ?",
        (seq,),
    ).fetchone()
    if row is None:
        return None
    source, rejected_at, code, reason, fingerprint, webhook, *found = row
    return RejectedInput(
        seq, source, rejected_at, code, reason, SpoolRow(seq, *found), fingerprint, webhook
    )


def find_rejected(db: sqlite3.Connection, event_id: str) -> ListedInput | None:
    """Return the latest rejected row with this id, or None where there is none."""
    row = db.execute(
        "SELECT seq, source, rejected_at, code, reason FROM rejected WHERE id = ?"
        " ORDER BY seq DESC LIMIT 1",
        (event_id.encode("utf-8", "replace"),),
    ).fetchone()
    return None if row is None else ListedInput(*row)


def drop_rejected(db: sqlite3.Connection, seqs: Iterable[int], *, now: float) -> int:
    """Take rows off the list for good; return how many there were.

    The operator took them. Their fingerprints are remembered until `forget_left`, so that a row that
    is still in its spool does not come back; and what was removed of a source before, for its limit,
    is forgotten with its last row. `now` is in Unix seconds.
    """
    numbers = json.dumps(list(seqs))
    db.execute(
        "INSERT OR IGNORE INTO rejected_before (fingerprint, left_at) SELECT fingerprint, ?"
        " FROM rejected WHERE seq IN (SELECT value FROM json_each(?))",
        (now, numbers),
    )
    dropped = remove_rows(db, numbers)
    db.execute(
        "DELETE FROM rejected_removed"
        " WHERE source NOT IN (SELECT source FROM rejected_kept WHERE count > 0)"
    )
    return dropped


def remove_rows(db: sqlite3.Connection, numbers: str) -> int:
    """Remove rows, whose numbers are a JSON array, and return how many there were.

    Nothing remembers them: one that is still in its spool may be rejected again.
    """
    return db.execute(
        "DELETE FROM rejected WHERE seq IN (SELECT value FROM json_each(?))", (numbers,)
    ).rowcount


def forget_left(db: sqlite3.Connection, before: float) -> None:
    """Forget what left the list before this time, in Unix seconds: fingerprints and counts."""
    db.execute("DELETE FROM rejected_before WHERE left_at < ?", (before,))
    db.execute("DELETE FROM rejected_removed WHERE last_at < ?", (before,))
