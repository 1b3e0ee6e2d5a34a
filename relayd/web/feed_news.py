"""Whether something was accepted: one look at the queue a quarter of a second, for all who wait for it.

While nobody waits, nobody looks.
"""

import asyncio
from typing import Final

from anyio.to_thread import run_sync

from relayd.queue.snapshot import QueueReader
from relayd.queue.snapshot_values import QueueUnreadableError

LOOK_S: Final = 0.25
SNAPSHOT_S: Final = 0.5


class News:
    """`newest` is the greatest sequence number when somebody looked last."""

    def __init__(self, queue: QueueReader) -> None:
        self._queue = queue
        self._waiting = 0
        self._somebody = asyncio.Event()
        self._changed = asyncio.Event()
        self.newest = 0
        self.stopped = False

    async def follow(self) -> None:
        """Look, as long as somebody waits, until cancelled."""
        while True:
            await self._somebody.wait()
            try:
                found = await run_sync(self._look)
            except QueueUnreadableError:
                found = self.newest  # who waits hears of it when the time is over
            if found != self.newest:
                self.newest = found
                self._wake()
            await asyncio.sleep(LOOK_S)

    def _look(self) -> int:
        with self._queue.snapshot(limit_s=SNAPSHOT_S) as snapshot:
            return snapshot.newest_sequence()

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def stop(self) -> None:
        """End all waiting, now and later."""
        self.stopped = True
        self._wake()

    async def wait(self, behind: int, seen: int) -> None:
        """Wait until the newest number is neither `seen` nor one up to `behind`, or for the stop."""
        self._waiting += 1
        self._somebody.set()
        try:
            while not self.stopped and (self.newest <= behind or self.newest == seen):
                await self._changed.wait()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self._somebody.clear()
