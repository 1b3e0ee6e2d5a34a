"""What the queue's file says, read again and again during a run, before retention removes it."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_GAPS = """
SELECT d.seq, d.attempts, count(a.number), min(a.number), max(a.number)
FROM deliveries d JOIN attempts a ON a.delivery_seq = d.seq
GROUP BY d.seq HAVING count(a.number) <> d.attempts OR min(a.number) <> 1 OR max(a.number) <> d.attempts
"""

_UNCOUNTED = """
SELECT d.seq, d.attempts FROM deliveries d
WHERE d.attempts > 0 AND NOT EXISTS (SELECT 1 FROM attempts WHERE delivery_seq = d.seq)
"""

_FAILED = "SELECT delivery_seq, number, status, failure FROM attempts WHERE failure IS NOT NULL"

_GIVEN_UP = """
SELECT e.id, s.name FROM deliveries d
JOIN events e ON e.seq = d.event_seq JOIN subscriptions s ON s.id = d.subscription_id
WHERE d.state IN ('exhausted', 'cancelled')
"""


@dataclass(slots=True)
class Observed:
    """What was seen in the queue."""

    failed: dict[tuple[int, int], tuple[int | None, str]] = field(default_factory=dict)
    """By a delivery's number and an attempt's, the status of the answer (None without one) and why
    it failed."""
    given_up: set[tuple[str, str]] = field(default_factory=set)
    """An event and a subscription whose delivery was cancelled or exhausted, at some time."""
    gaps: set[str] = field(default_factory=set)
    """Deliveries whose attempts are not 1, 2, 3…, in words."""


@contextmanager
def reading(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the queue to read from it."""
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as db:
        yield db


def observe(path: Path, observed: Observed) -> None:
    """Add what the queue shows now. Retention must not have removed anything since the last time."""
    with reading(path) as db:
        observed.failed.update(
            ((seq, number), (status, failure))
            for seq, number, status, failure in db.execute(_FAILED)
        )
        observed.given_up.update(db.execute(_GIVEN_UP))
        observed.gaps.update(
            f"delivery {seq} counts {attempts} attempts; it has {count}, from {first} to {last}"
            for seq, attempts, count, first, last in db.execute(_GAPS)
        )
        observed.gaps.update(
            f"delivery {seq} counts {attempts} attempts, and has none"
            for seq, attempts in db.execute(_UNCOUNTED)
        )


def waiting(path: Path) -> int:
    """Return how many deliveries have not ended; 0 while there is no queue yet."""
    try:
        with reading(path) as db:
            [(count,)] = db.execute("SELECT count(*) FROM deliveries WHERE due_at IS NOT NULL")
            return int(count)
    except sqlite3.OperationalError:
        return 0


def unended(path: Path) -> dict[str, str]:
    """Return the deliveries that have not ended as they must, with their states."""
    with reading(path) as db:
        return dict(
            db.execute(
                "SELECT e.id || ' to ' || s.name, d.state FROM deliveries d"
                " JOIN events e ON e.seq = d.event_seq"
                " JOIN subscriptions s ON s.id = d.subscription_id"
                " WHERE d.state <> iif(s.name = 'hopeless', 'exhausted', 'delivered')"
            )
        )


def integrity(path: Path) -> str:
    """Return what SQLite's own check of the queue says."""
    with closing(sqlite3.connect(path)) as db:
        return str(db.execute("PRAGMA integrity_check").fetchone()[0])
