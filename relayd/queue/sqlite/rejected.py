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
        "SELECT source, rejected_at, code, reason, fingerprint,"
        " id, type, data, created, market_id, api_version FROM rejected WHERE seq = ?",
        (seq,),
    ).fetchone()
    if row is None:
        return None
    source, rejected_at, code, reason, fingerprint, *found = row
    return RejectedInput(seq, source, rejected_at, code, reason, SpoolRow(seq, *found), fingerprint)


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

    Their fingerprints are remembered until `forget_left`, so that a row that is still in its spool
    does not come back. `now` is in Unix seconds.
    """
    numbers = json.dumps(list(seqs))
    db.execute(
        "INSERT OR IGNORE INTO rejected_before (fingerprint, left_at) SELECT fingerprint, ?"
        " FROM rejected WHERE seq IN (SELECT value FROM json_each(?))",
        (now, numbers),
    )
    return db.execute(
        "DELETE FROM rejected WHERE seq IN (SELECT value FROM json_each(?))", (numbers,)
    ).rowcount


def forget_left(db: sqlite3.Connection, before: float) -> None:
    """Forget the fingerprints of rows that left the list before this time, in Unix seconds."""
    db.execute("DELETE FROM rejected_before WHERE left_at < ?", (before,))
