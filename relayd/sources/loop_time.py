"""The event loop's time that reading producers' lines may take: four fifths at most, in slices.

All that runs in relayd takes turns on one loop. Reading a line is Python, up to a second of it for a
hostile one; so it is done in slices of `SLICE_S`. Whoever has used up a slice while others wait, or
while reading has taken four fifths of the loop's time, waits for the next turn. Users take turns.
"""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

import trio

SLICE_S: Final = 0.001
"""How long reading lines may hold up everything else at a time."""

_FRACTION: Final = 0.8
_BURST_S: Final = 10 * SLICE_S


class LoopTime:
    """Gives turns. `run` must run for anybody to get one; `clock` is monotonic, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.clock = clock
        self._left_s = _BURST_S
        self._seen_at = clock()
        self._waiting: dict[int, deque[trio.Event]] = {}
        self._wanted = trio.Event()

    def charge(self, seconds: float) -> None:
        """Note that reading took so long."""
        now = self.clock()
        self._left_s = min(_BURST_S, self._left_s + (now - self._seen_at) * _FRACTION) - seconds
        self._seen_at = now

    def is_up(self) -> bool:
        """Tell whether it is somebody else's turn: then `turn` has to be awaited."""
        if self._waiting:
            return True
        if self._left_s <= 0.0:
            self.charge(0.0)
        return self._left_s <= 0.0

    async def turn(self, uid: int) -> None:
        """Wait for a turn of `SLICE_S`."""
        mine = trio.Event()
        self._waiting.setdefault(uid, deque()).append(mine)
        self._wanted.set()
        try:
            await mine.wait()
        finally:
            if not mine.is_set():
                queue = self._waiting[uid]
                queue.remove(mine)
                if not queue:
                    del self._waiting[uid]

    async def run(self) -> None:
        """Give turns until cancelled."""
        while True:
            await self._wanted.wait()
            while self._waiting:
                uid = next(iter(self._waiting))
                queue = self._waiting.pop(uid)
                queue.popleft().set()
                if queue:
                    self._waiting[uid] = queue  # behind the others
                # In the first round of the loop it takes its turn, in the second all others run.
                await trio.lowlevel.checkpoint()
                await trio.lowlevel.checkpoint()
                while self._left_s <= 0.0:
                    await trio.sleep(-self._left_s / _FRACTION + 0.0001)
                    self.charge(0.0)
            self._wanted = trio.Event()
