"""The queue's file as a process reads it that is not its daemon: see `queue.snapshot.QueueReader`."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from relayd.queue.sqlite.change_feed import SQLiteChangeFeed, open_change_feed
from relayd.queue.sqlite.read_only import open_reading
from relayd.queue.sqlite.snapshot import SQLiteSnapshot


class SQLiteReader:
    """Reads the queue at `path`, whether its daemon runs or not. Writes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def snapshot(self) -> Iterator[SQLiteSnapshot]:
        """Show the queue as it is now until the end of the block."""
        with open_reading(self._path) as reading:
            yield SQLiteSnapshot(reading, self._path)

    @contextmanager
    def changes(self) -> Iterator[SQLiteChangeFeed]:
        """Follow the queue's deliveries until the end of the block."""
        with open_change_feed(self._path) as feed:
            yield feed
