"""The queue's file as a process reads it that is not its daemon: see `queue.snapshot.QueueReader`."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from relayd.queue.sqlite.change_feed import SQLiteChangeFeed, open_change_feed
from relayd.queue.sqlite.read_only import open_reading
from relayd.queue.sqlite.snapshot import SQLiteSnapshot

_LOOK_STEPS: Final = 10_000
"""SQLite's virtual machine takes some 0.2 ms for so many of its steps."""


class SQLiteReader:
    """Reads the queue at `path`, whether its daemon runs or not. Writes nothing."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @contextmanager
    def snapshot(self, *, limit_s: float | None = None) -> Iterator[SQLiteSnapshot]:
        """Show the queue as it is now until the end of the block, which may take `limit_s` seconds.

        What is being read when they are over raises `QueueUnreadableError`.
        """
        with open_reading(self._path) as reading:
            if limit_s is not None:
                until = time.monotonic() + limit_s
                reading.db.set_progress_handler(lambda: time.monotonic() >= until, _LOOK_STEPS)
            yield SQLiteSnapshot(reading, self._path)

    @contextmanager
    def changes(self) -> Iterator[SQLiteChangeFeed]:
        """Follow the queue's deliveries until the end of the block."""
        with open_change_feed(self._path) as feed:
            yield feed
