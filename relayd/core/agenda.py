"""When each of an endpoint's subscriptions is to be asked for due deliveries again."""

import math
from collections.abc import Iterable, Mapping

NOW = -math.inf
"""The time of what is due at once."""


class Agenda:
    """A time for each subscription for which something waits; the others cost nothing.

    Times are Unix seconds. What comes up is taken off, and noted again by whoever took it: so
    subscriptions that always have something due take turns.
    """

    def __init__(self) -> None:
        self._times: dict[str, float] = {}

    def note(self, name: str, at: float) -> None:
        """Ask for this subscription at `at`, if not sooner."""
        self._times[name] = min(self._times.get(name, math.inf), at)

    def note_all(self, times: Mapping[str, float]) -> None:
        """Note each of these."""
        for name, at in times.items():
            self.note(name, at)

    def keep(self, names: Iterable[str]) -> None:
        """Forget all subscriptions but these, and ask for each of these now."""
        self._times = dict.fromkeys(names, NOW)

    def forget(self, name: str) -> None:
        """Ask for this subscription no more."""
        self._times.pop(name, None)

    @property
    def next_at(self) -> float:
        """When the next one comes up; infinity when none does."""
        return min(self._times.values(), default=math.inf)

    def take(self, now: float, limit: int) -> tuple[str, ...]:
        """Take off what has come up by `now`, `limit` of it at most, the longest noted first."""
        names: list[str] = []
        for name, at in self._times.items():
            if at <= now:
                names.append(name)
                if len(names) == limit:
                    break
        for name in names:
            del self._times[name]
        return tuple(names)
