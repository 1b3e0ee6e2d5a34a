"""Reads the feed in the queue's file: the place of a cursor by a few seeks, then row by row."""

import sqlite3
from collections.abc import Iterator

from relayd.core.feed import (
    FeedCursor,
    FeedGapError,
    FeedPage,
    FeedRow,
    FeedWish,
    fill_page,
    has_gap,
)
from relayd.queue.sqlite.feed_removals import read_removals
from relayd.queue.sqlite.read_only import Reading
from relayd.queue.sqlite.sequences import first_after

# Whether a row has a body is known without reading the body.
_ROWS = "SELECT seq, sequence, type, body IS NOT NULL FROM events WHERE seq >= ? ORDER BY seq"
_BODY = "SELECT body FROM events WHERE seq = ?"


def read_page(reading: Reading, after: FeedCursor | None, wish: FeedWish) -> FeedPage:
    """Return the events behind a cursor; without one, from the oldest on. Raises `FeedGapError`."""
    db = reading.db
    removals = read_removals(db)
    oldest = FeedCursor(reading.tag, 0, removals[-1].number if removals else 0)
    begin = oldest if after is None else after
    first = first_after(db, begin.sequence - 1)
    if begin.queue != reading.tag or has_gap(begin, removals) or not _is_known(db, begin, first):
        raise FeedGapError(oldest)

    def load(key: int) -> bytes:
        [(body,)] = db.execute(_BODY, (key,)).fetchall()
        return bytes(body)

    begin = FeedCursor(begin.queue, begin.sequence, max(begin.removal, oldest.removal))
    rows = iter(()) if first is None else _rows(db, first, begin.sequence)
    return fill_page(rows, load, begin, wish)


def _rows(db: sqlite3.Connection, first: int, sequence: int) -> Iterator[FeedRow]:
    for key, number, event_type, kept in db.execute(_ROWS, (first,)):
        if number > sequence:
            yield key, number, event_type, bool(kept)


def _is_known(db: sqlite3.Connection, cursor: FeedCursor, first: int | None) -> bool:
    """Return whether the event before the cursor is, or may have been, in this queue.

    A restored backup does not have it. `first` is the first event that is not before it.
    """
    if not cursor.sequence:
        return True
    if first is not None:
        [(number,)] = db.execute("SELECT sequence FROM events WHERE seq = ?", (first,)).fetchall()
        if number == cursor.sequence:
            return True
    [(removed,)] = db.execute("SELECT max(sequence_removed) FROM queue").fetchall()
    return bool(cursor.sequence <= removed)
