"""Finds events by their sequence numbers, which rise with their seq: by halving, without an index.

An index of them would cost a twentieth of accepting an event. Events without a number yet, of an
older version, have 0 and are the last ones.
"""

import sqlite3
from collections.abc import Callable

# Each by itself is one seek; together they would be a scan: 0.4 s for a million events.
_ENDS = "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)"
_AT = "SELECT seq, sequence FROM events WHERE seq >= ? ORDER BY seq LIMIT 1"
_LAST = """
SELECT max((SELECT max(sequence_removed) FROM queue),
  coalesce((SELECT sequence FROM events WHERE seq < ? ORDER BY seq DESC LIMIT 1), 0))"""


def first_after(db: sqlite3.Connection, sequence: int) -> int | None:
    """Return the seq of the first event with a greater number than this, None where there is none."""
    return _first(db, lambda number: number > sequence)


def first_unnumbered(db: sqlite3.Connection) -> int | None:
    """Return the seq of the first event that has no number yet, None where each has one."""
    return _first(db, lambda number: number == 0)


def last_sequence(db: sqlite3.Connection) -> int:
    """Return the greatest number that was given to an event, also to one that is gone; 0 for none."""
    unnumbered = first_unnumbered(db)
    [(number,)] = db.execute(_LAST, (2**62 if unnumbered is None else unnumbered,))
    return int(number)


def _first(db: sqlite3.Connection, wanted: Callable[[int], bool]) -> int | None:
    [(low, high)] = db.execute(_ENDS).fetchall()
    if low is None:
        return None
    found: int | None = None
    while low <= high:
        middle = (low + high) // 2
        seq, number = db.execute(_AT, (middle,)).fetchone()
        if wanted(number):
            found, high = seq, middle - 1
        else:
            low = seq + 1
    return found
