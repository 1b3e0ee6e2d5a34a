"""Says what fills the queue's file: events, attempts, rejected input, the rest, and free pages.

SQLite knows how many pages there are and how many are free; to know whose the others are, it would
have to read all of them. So a few hundred rows, spread evenly over the table, stand for the others:
it takes milliseconds, whatever the size, and is right to some per cent where rows are alike.
"""

import json
import sqlite3
from typing import Final

from relayd.queue.overview_values import Contents

SAMPLES: Final = 256
_EVENT_ROW_BYTES: Final = 200
"""What an event takes beside its body: the other columns, and its entries in the indexes."""
_ATTEMPT_ROW_BYTES: Final = 64
_REJECTED_ROW_BYTES: Final = 300
_REJECTED_COUNTED: Final = 10_000
"""So many rejected rows are measured one by one, which takes some 10 ms."""

# Each a query of its own: SQLite seeks the least or the greatest, but reads the table for both.
_SPANS: Final = {
    "events": "SELECT (SELECT min(seq) FROM events), (SELECT max(seq) FROM events)",
    "deliveries": "SELECT (SELECT min(seq) FROM deliveries), (SELECT max(seq) FROM deliveries)",
}

_EVENT_SAMPLE = """
SELECT coalesce(length(e.body), 0) + coalesce(
  (SELECT length(b.body) FROM inbound_bodies b WHERE b.event_seq = e.seq), 0)
FROM json_each(:seqs) AS wanted
CROSS JOIN events e ON e.seq = wanted.value"""

_ATTEMPT_SAMPLE = f"""
SELECT coalesce((SELECT sum(coalesce(length(a.answer), 0) + coalesce(length(a.detail), 0)
    + coalesce(length(a.cause), 0) + coalesce(length(a.subject), 0) + {_ATTEMPT_ROW_BYTES}) FROM attempts a WHERE a.delivery_seq = d.seq), 0)
FROM json_each(:seqs) AS wanted CROSS JOIN deliveries d ON d.seq = wanted.value"""  # noqa: S608 - a constant of our own

_REJECTED = f"""
SELECT count(*), coalesce(sum(coalesce(length(data), 0) + coalesce(length(id), 0)
  + coalesce(length(type), 0) + coalesce(length(webhook), 0) + {_REJECTED_ROW_BYTES}), 0)
FROM (SELECT id, type, data, webhook FROM rejected ORDER BY seq LIMIT {_REJECTED_COUNTED})"""  # noqa: S608 - constants of our own


def read_contents(db: sqlite3.Connection) -> Contents:
    """Estimate what fills the queue. Reads some hundred rows, and the first 10,000 rejected ones."""

    def number(sql: str) -> int:
        [(value,)] = db.execute(sql).fetchall()
        return int(value or 0)

    page_bytes = number("PRAGMA page_size")
    free = number("PRAGMA freelist_count") * page_bytes
    used = number("PRAGMA page_count") * page_bytes - free
    counted, rejected = db.execute(_REJECTED).fetchone()
    if counted == _REJECTED_COUNTED:
        rejected = rejected * number("SELECT count(*) FROM rejected") // counted
    parts = [
        _estimate(db, "events", _EVENT_SAMPLE, _EVENT_ROW_BYTES),
        _estimate(db, "deliveries", _ATTEMPT_SAMPLE, 0),
        int(rejected),
    ]
    # What is estimated too high is cut to what there is, so that the sum is right.
    scale = min(1.0, used / sum(parts)) if sum(parts) else 1.0
    events, attempts, rejected = (int(part * scale) for part in parts)
    return Contents(events, attempts, rejected, used - events - attempts - rejected, free)


def _estimate(db: sqlite3.Connection, table: str, sample: str, row_bytes: int) -> int:
    first, last = db.execute(_SPANS[table]).fetchone()
    if first is None:
        return 0
    span = last - first + 1
    count = min(SAMPLES, span)
    seqs = [first + index * span // count for index in range(count)]
    found = db.execute(sample, {"seqs": json.dumps(seqs)}).fetchall()
    # Numbers without a row count, too: they stand for as many of those that were removed.
    sampled = sum(int(value or 0) + row_bytes for (value,) in found)
    return int(sampled * span // count)
