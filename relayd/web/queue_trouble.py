"""Logs that the queue cannot be read: when a reason begins, and each at most once a minute.

Many ask without a pause, and where only some of what they ask takes too long, trouble begins and ends all the time.
"""

import math
import time
from collections.abc import Callable
from typing import Final

import structlog

_log = structlog.get_logger()

AGAIN_S: Final = 60.0


class QueueTrouble:
    """What was logged, as `event`, of one part of the web process. `clock` is a monotonic one, in seconds."""

    def __init__(self, event: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._event = event
        self._clock = clock
        self._now = ""
        self._logged: dict[str, float] = {}

    def begins(self, error: Exception) -> None:
        """Note why the queue could not be read, and log it where that is new."""
        reason = str(error)
        if reason == self._now:
            return
        self._now, now = reason, self._clock()
        if now - self._logged.get(reason, -math.inf) < AGAIN_S:
            return
        self._logged = {each: at for each, at in self._logged.items() if now - at < AGAIN_S}
        self._logged[reason] = now
        _log.warning(self._event, detail=reason)

    def ends(self) -> None:
        """Note that the queue was read."""
        self._now = ""
