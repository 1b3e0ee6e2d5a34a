"""What is remembered of bodies that were removed, so that the feed's readers hear of each gap: see `core.feed`."""

import sqlite3

from relayd.core.feed import Removal, after_removal

_THROUGH = """
SELECT max(sequence) FROM events
WHERE seq IN (SELECT value FROM json_each(?)) AND body IS NOT NULL"""


def read_removals(db: sqlite3.Connection) -> list[Removal]:
    """Return it, oldest first."""
    rows = db.execute("SELECT number, through FROM feed_removals ORDER BY number")
    return [Removal(*row) for row in rows]


def remember_removal(db: sqlite3.Connection, seqs: str, *, now: float) -> None:
    """Remember, in the transaction that removes them, that the bodies of these events (a JSON list) go."""
    [(through,)] = db.execute(_THROUGH, (seqs,)).fetchall()
    if through is None:
        return
    remembered = after_removal(read_removals(db), through, now)
    db.execute("DELETE FROM feed_removals")
    db.executemany(
        "INSERT INTO feed_removals (number, through) VALUES (?, ?)",
        [(each.number, each.through) for each in remembered],
    )
