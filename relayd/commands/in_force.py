"""Whether what is on disk is what is in force, for the commands that say so."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

import trio

from relayd.commands.requests import Answer, RefusedError, Request
from relayd.config.changed_files import changed_files
from relayd.config.config import Config

_WITHIN_S: Final = 4.0
"""A folder on a network may not answer at all."""

_MOST_NAMED: Final = 20


@dataclass(frozen=True, slots=True)
class RefusedReload:
    """A reload that changed nothing: when, in Unix seconds, and why."""

    at: float
    problems: Sequence[str]


class InForceCommand:
    """Compares the files that were read for the configuration in force with those on disk.

    `reloading` is set while a reload runs; `refused` is the last one, until one is applied.
    """

    def __init__(self, config: Config, clock: Callable[[], float]) -> None:
        self.config = config
        self.reloading = False
        self.refused: RefusedReload | None = None
        self._clock = clock
        self._limiter = trio.CapacityLimiter(1)

    def reload_ended(self, problems: Sequence[str] | None) -> None:
        """Note how a reload ended: applied without problems, or refused; None where it was cut off."""
        self.reloading = False
        if problems is not None:
            self.refused = RefusedReload(self._clock(), tuple(problems)) if problems else None

    async def in_force(self, _: Request) -> Answer:
        """Answer with the files that differ, and with the last reload where it was refused."""
        with trio.move_on_after(_WITHIN_S) as waiting:
            while True:
                config = self.config
                found = await trio.to_thread.run_sync(
                    partial(changed_files, config.files, config.include),
                    abandon_on_cancel=True,
                    limiter=self._limiter,
                )
                if config is self.config:  # else a reload was applied meanwhile
                    break
        if waiting.cancelled_caught:
            raise RefusedError("failed", f"looking at the files took longer than {_WITHIN_S:g} s")
        refused = self.refused
        return {
            "config": str(config.path),
            "reloading": self.reloading,
            "changed": [{"path": each.path, "change": each.change} for each in found[:_MOST_NAMED]],
            "changed_count": len(found),
            "refused": None
            if refused is None
            else {
                "at": refused.at,
                "problem": refused.problems[0],
                "problems": len(refused.problems),
            },
        }
