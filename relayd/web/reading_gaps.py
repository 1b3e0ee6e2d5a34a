"""Lets the queue's -wal be cut back: there are moments in which the web process reads nothing.

SQLite begins the -wal again only when nobody reads the queue. Snapshots are short, but of many clients one always
overlaps the next, and the -wal would grow on the daemon's disk for as long as they go on. So once it is large,
new snapshots wait until all have ended, and a moment longer, in which the daemon's commits cut it back.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Final

from relayd.queue.snapshot import ChangeFeed, QueueReader, Snapshot

LARGE_BYTES: Final = 80 * 1024 * 1024
"""The file keeps up to 64 MiB after a burst, whether they are in use or not."""

GAP_S: Final = 0.25
"""In so long a daemon that fills the -wal commits twice: one moves it into the queue, the next begins it again."""

LONGEST_S: Final = 3.0
"""So long is the end of all snapshots waited for. They have 2 s."""

EVERY_S: Final = 5.0
"""Gaps come no more often, where they do not help: another program reads the queue."""


class ReadingGaps:
    """A queue's reader that lets the -wal at `wal` be cut back. `clock` is a monotonic one, in seconds."""

    def __init__(
        self, reader: QueueReader, wal: Path, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._reader = reader
        self._wal = wal
        self._clock = clock
        self._changed = threading.Condition()
        self._reading = 0
        self._ending = False
        self._gap_until = 0.0

    @contextmanager
    def snapshot(self, *, limit_s: float | None = None) -> Iterator[Snapshot]:
        """Show the queue as it is now until the end of the block: see `QueueReader`. It may wait for a gap."""
        self._begin()
        try:
            with self._reader.snapshot(limit_s=limit_s) as found:
                yield found
        finally:
            self._end()

    def changes(self) -> AbstractContextManager[ChangeFeed]:
        """Follow the queue's deliveries until the end of the block."""
        return self._reader.changes()

    def _begin(self) -> None:
        with self._changed:
            if self._reading and not self._ending and self._is_due():
                self._ending = True
            if not self._changed.wait_for(lambda: not self._ending, LONGEST_S):
                # Whoever reads so long keeps nobody else from it: the next gap is as far off as after one.
                self._ending = False
                self._gap_until = self._clock()
                self._changed.notify_all()
            while (left_s := self._gap_until - self._clock()) > 0:
                self._changed.wait(left_s)
            self._reading += 1

    def _end(self) -> None:
        with self._changed:
            self._reading -= 1
            if self._ending and not self._reading:
                self._ending = False
                self._gap_until = self._clock() + GAP_S
                self._changed.notify_all()

    def _is_due(self) -> bool:
        if self._clock() < self._gap_until + EVERY_S:
            return False
        try:
            return self._wal.stat().st_size > LARGE_BYTES
        except OSError:
            return False
