"""The numbers that the queue gives out: of events, deliveries and releases, and sequence numbers.

The daemon is the queue's only writer, so it counts them itself; those of a transaction that failed
are never used. What releases are is in `core.release`.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from relayd.queue.sqlite.sequences import last_sequence

# Retries may know of a release that was never written: the process died before.
_LAST_RELEASE = """
SELECT max(release) FROM (
  SELECT max(release) AS release FROM subscriptions
  UNION ALL SELECT max(release) FROM endpoints
  UNION ALL SELECT max(max(release_seen), -min(release_seen)) FROM deliveries INDEXED BY deliveries_releasable
    WHERE state = 'retrying')"""


class Numbers:
    """The next numbers of events and deliveries, the last release's, and the last sequence number."""

    def __init__(self, event: int, delivery: int, release: int = 0, sequence: int = 0) -> None:
        self.event = event
        self.delivery = delivery
        self.sequence = sequence
        self.release = release
        self._unwritten_releases: set[int] = set()

    @classmethod
    def read(cls, db: sqlite3.Connection) -> "Numbers":
        """Read where the queue stands. AUTOINCREMENT remembers numbers of rows long removed."""
        used: dict[str, int] = dict(db.execute("SELECT name, seq FROM sqlite_sequence"))
        [(release,)] = db.execute(_LAST_RELEASE)
        return cls(
            used.get("events", 0) + 1,
            used.get("deliveries", 0) + 1,
            release or 0,
            last_sequence(db),
        )

    def next_release(self) -> int:
        """Return the number of a release from now on."""
        self.release += 1
        return self.release

    @property
    def newest_release(self) -> int:
        """The newest release that an attempt which begins now is made after.

        One that is still being written is not among them: the attempt is made as things were
        before it.
        """
        return min(self._unwritten_releases, default=self.release + 1) - 1

    @contextmanager
    def writing_release(self) -> Iterator[int]:
        """Give the number of a release that is written within this block."""
        number = self.next_release()
        self._unwritten_releases.add(number)
        try:
            yield number
        finally:
            self._unwritten_releases.remove(number)
