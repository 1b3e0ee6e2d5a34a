"""When to log that the queue cannot be read: when a reason begins, and each at most once a minute.

Many ask without a pause, and where only some of what they ask takes too long, trouble begins and ends all the time.
"""

import math
import time
from collections.abc import Callable
from typing import Final

AGAIN_S: Final = 60.0


class QueueTrouble:
    """What one part of the web process has logged. `clock` is a monotonic one, in seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._now = ""
        self._logged: dict[str, float] = {}

    def is_news(self, error: Exception) -> bool:
        """Note that the queue could not be read; return whether that is to be logged."""
        reason = str(error)
        if reason == self._now:
            return False
        self._now, now = reason, self._clock()
        if now - self._logged.get(reason, -math.inf) < AGAIN_S:
            return False
        self._logged = {each: at for each, at in self._logged.items() if now - at < AGAIN_S}
        self._logged[reason] = now
        return True

    def ends(self) -> None:
        """Note that the queue was read."""
        self._now = ""
