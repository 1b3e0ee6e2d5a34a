"""What the queue remembers of the clock: when it was last looked at, and where expiry stands."""

import sqlite3

from relayd.core.expiry import Evidence

_OLDEST = """
SELECT min(moment) FROM (SELECT min(accepted_at) AS moment FROM events INDEXED BY events_listed
  UNION ALL SELECT min(rejected_at) FROM rejected INDEXED BY rejected_listed)"""

_NEWEST = """
SELECT max(moment) FROM (SELECT max(accepted_at) AS moment FROM events INDEXED BY events_listed
  UNION ALL SELECT max(rejected_at) FROM rejected INDEXED BY rejected_listed)"""


def read_evidence(db: sqlite3.Connection) -> Evidence:
    """Return what the queue knows of time. Four seeks, however large it is."""
    [(expired_at,)] = db.execute("SELECT expired_at FROM queue").fetchall()
    [(newest,)] = db.execute(_NEWEST).fetchall()
    [(oldest,)] = db.execute(_OLDEST).fetchall()
    return Evidence(expired_at, newest, oldest)


def read_seen_at(db: sqlite3.Connection) -> float | None:
    """Return when the clock was last looked at; in a queue of version 1, when something last came.

    None in a new queue. At most 5 minutes before relayd ended, unless that was killed earlier.
    """
    [(seen_at,)] = db.execute("SELECT seen_at FROM queue").fetchall()
    if seen_at is not None:
        return float(seen_at)
    [(newest,)] = db.execute(_NEWEST).fetchall()
    return None if newest is None else float(newest)


def mark_seen(db: sqlite3.Connection, now: float) -> None:
    """Remember that the clock was looked at now."""
    db.execute("UPDATE queue SET seen_at = ?", (now,))


def mark_expired(db: sqlite3.Connection, stands_at: float) -> None:
    """Remember where expiry stands."""
    db.execute("UPDATE queue SET expired_at = ?", (stands_at,))
