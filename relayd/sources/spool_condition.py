"""How one spool is: what it waits for, and what its reader reports.

Logged: `source_unavailable` (warning) with what the spool waits for, and `source_recovered` when that is over;
`reader_not_confined` (warning).
"""

from pathlib import Path

import structlog
import trio

from relayd.sources.source import SourceStanding
from relayd.spool.frames import BadFrameError
from relayd.spool.text_frames import State

_STATES, _STATES_S = 200, 10.0  # so many reports in so long are more than a reader of ours sends


class SpoolCondition:
    """The condition of the spool at `path`; `waits_for` is what keeps it from being read, if anything.

    In its standing, `undeleted` counts rows that are accepted and still in the table; `confined`
    tells whether its reader is, None before it has said so, and `not_confined` why not.
    """

    def __init__(self, path: Path, log: structlog.typing.FilteringBoundLogger) -> None:
        self.waits_for: str | None = None
        self._path = path
        self._log = log
        self._waits_since = 0.0
        self._undeleted = 0
        self._confined: bool | None = None
        self._unconfined: str | None = None
        self._states = 0
        self._states_since = 0.0

    def standing(self) -> SourceStanding:
        """Return how it is."""
        details = {
            "undeleted": self._undeleted,
            "confined": self._confined,
            "not_confined": self._unconfined,
        }
        waited_s = 0.0 if self.waits_for is None else trio.current_time() - self._waits_since
        return SourceStanding(str(self._path), self.waits_for, details, waited_s)

    def wait_for(self, reason: str) -> None:
        """Note what keeps it from being read."""
        if reason != self.waits_for:
            self._log.warning("source_unavailable", detail=reason)
        if self.waits_for is None:
            self._waits_since = trio.current_time()
        self.waits_for = reason

    def note(self, state: State) -> None:
        """Note a report of its reader. Raises `BadFrameError` for one that reports without end."""
        self._undeleted = state.undeleted
        if state.unconfined is not None and state.unconfined != self._unconfined:
            self._log.warning("reader_not_confined", detail=state.unconfined)
        self._confined, self._unconfined = state.unconfined is None, state.unconfined
        if state.waits_for is not None:
            self.wait_for(state.waits_for)
        elif self.waits_for is not None:
            self._log.info("source_recovered")
            self.waits_for = None
        self._count()

    def _count(self) -> None:
        now = trio.current_time()
        if now - self._states_since > _STATES_S:
            self._states_since, self._states = now, 0
        self._states += 1
        if self._states > _STATES:
            raise BadFrameError("too many reports")
