"""Follows deliveries in the queue's file: those that are new, and those whose state changed.

While nobody commits, a look is one pragma. Else it costs a few seeks for each delivery that changed,
however many there are: new ones have the highest numbers, and `changes` has the others in order.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from relayd.file_identity import file_identity
from relayd.queue.snapshot_values import ListedDelivery, Look, QueueUnreadableError
from relayd.queue.sqlite.deliveries import load
from relayd.queue.sqlite.read_only import Reading, begin_reading, open_file
from relayd.queue.sqlite.snapshot import SQLiteSnapshot

AT_ONCE: Final = 2_000
_REMEMBERED: Final = 20_000

_NEWEST = """
SELECT coalesce((SELECT max(seq) FROM deliveries), 0), coalesce((SELECT max(seq) FROM changes), 0)"""

_NEW = "SELECT seq FROM deliveries WHERE seq > ? ORDER BY seq LIMIT ?"
_CHANGED = "SELECT seq, delivery_seq FROM changes WHERE seq > ? ORDER BY seq LIMIT ?"


class SQLiteChangeFeed:
    """Looks at what changed since it was made, and since the look before."""

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path
        self._file = file_identity(path)
        self._version: int | None = None
        # What was shown of a delivery last: one that is new and already delivered is told once.
        self._shown: dict[int, tuple[object, ...]] = {}
        self._delivery, self._change = db.execute(_NEWEST).fetchone()

    def look(self) -> Look:
        """Look once. Raises `QueueUnreadableError` once the file was replaced."""
        if file_identity(self._path) != self._file:
            raise QueueUnreadableError(
                self._path, "it was replaced by another file; run the command again to follow that"
            )
        [version] = self._db.execute("PRAGMA data_version").fetchone()
        if version == self._version:
            return Look()
        with self._reading() as reading:
            found = self._look(reading)
        # Only now: what is committed meanwhile changes it again.
        self._version = None if found.more else version
        return found

    @contextmanager
    def snapshot(self) -> Iterator[SQLiteSnapshot]:
        """Show the queue as it is now until the end of the block."""
        with self._reading() as reading:
            yield SQLiteSnapshot(reading, self._path)

    @contextmanager
    def _reading(self) -> Iterator[Reading]:
        reading = begin_reading(self._db)
        try:
            yield reading
        finally:
            self._db.execute("ROLLBACK")

    def _look(self, reading: Reading) -> Look:
        new = [seq for (seq,) in self._db.execute(_NEW, (self._delivery, AT_ONCE))]
        changes = self._db.execute(_CHANGED, (self._change, AT_ONCE)).fetchall()
        missed = changes[0][0] - self._change - 1 if changes else 0
        if new:
            self._delivery = new[-1]
        if changes:
            self._change = changes[-1][0]
        found = load(reading, sorted({*new, *(seq for _, seq in changes)}))
        return Look(
            tuple(sorted(filter(self._is_news, found), key=_moment)),
            missed,
            more=max(len(new), len(changes)) == AT_ONCE,
        )

    def _is_news(self, delivery: ListedDelivery) -> bool:
        now = (delivery.state, delivery.attempts, delivery.changed_at)
        if self._shown.pop(delivery.seq, None) == now:
            self._shown[delivery.seq] = now
            return False
        self._shown[delivery.seq] = now
        if len(self._shown) > _REMEMBERED:
            del self._shown[next(iter(self._shown))]
        return True


@contextmanager
def open_change_feed(path: Path) -> Iterator[SQLiteChangeFeed]:
    """Open the queue to follow it. Writes nothing.

    Raises `QueueUnreadableError`, also for what goes wrong inside the block.
    """
    with open_file(path) as db:
        yield SQLiteChangeFeed(db, path)


def _moment(delivery: ListedDelivery) -> tuple[float, int]:
    return delivery.changed_at, delivery.seq
