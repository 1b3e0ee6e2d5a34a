"""What a reload does to the backlog of subscriptions, and what to do about it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from relayd.commands.difference import Then, advice, what_becomes
from relayd.config.config import Config
from relayd.config.difference import Difference
from relayd.core.hold import Hold
from relayd.queue.values import Waiting
from relayd.views.moments import clock_time

_NOW: Final[Mapping[Then, str]] = {
    "hold": "its backlog of {count} is held",
    "stay_held": "its backlog of {count} is still held",
    "go_on": "its backlog of {count} is no longer held",
}
_HOLDING: Final = frozenset({"url", "active"})
"""Keys that can end or begin a hold of a subscription that stays."""


def affected(found: Difference) -> tuple[str, ...]:
    """Return the subscriptions of which a reload may hold the backlog, or end a hold."""
    changes = found.subscriptions
    changed = (name for name, keys in changes.changed.items() if not _HOLDING.isdisjoint(keys))
    return (*changes.added, *changes.removed, *changed)


@dataclass(frozen=True, slots=True)
class Consequences:
    """What a reload did. `new` is what is in force now.

    `waiting` has what waited before it, for those that are `affected`. `released` counts the
    retries that it released, by subscription; `holds` are those after it. `held_until` has until
    when a subscription's endpoint is held back by a 429 or 503, in Unix seconds, where it is.
    """

    found: Difference
    waiting: Mapping[str, Waiting]
    new: Config
    released: Mapping[str, int]
    holds: Mapping[str, Hold | None]
    held_until: Mapping[str, float]

    def document(self) -> dict[str, object]:
        """Return how many retries were released, and how many deliveries go on, by subscription."""
        return {
            "released": dict(self.released),
            "no_longer_held": {
                name: each.count
                for name, each in self.waiting.items()
                if each.count and self._then(name, each) == "go_on"
            },
        }

    def notes(self) -> dict[str, str]:
        """Return a note for each subscription that was added, removed or changed, if there is one."""
        advised = advice(self.found, self.waiting, self.new)
        notes = {}
        for name in dict.fromkeys((*affected(self.found), *self.released)):
            each = self.waiting.get(name)
            words = "" if each is None else _NOW.get(self._then(name, each), "")
            fact = ""
            if each is not None and each.count:
                fact = words.format(count=f"{each.count:,}")
            if note := "; ".join(filter(None, (fact, self._released(name), advised.get(name)))):
                notes[name] = note
        return notes

    def _released(self, name: str) -> str:
        if not (count := self.released.get(name)):
            return ""
        if self.holds.get(name) is not None:
            when = "held"
        elif (until := self.held_until.get(name)) is not None:
            when = f"held back until {clock_time(until)} (429 or 503)"
        else:
            when = "attempted now, beside the schedule"
        return f"{count:,} {'retry' if count == 1 else 'retries'} released: {when}"

    def _then(self, name: str, waiting: Waiting) -> Then:
        return what_becomes(name, waiting, self.found, self.new)
