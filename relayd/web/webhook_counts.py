"""What came of inbound webhooks since the web process started, by entry: for metrics and the dashboard."""

import time
from collections import Counter
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

LOGGED_EVERY_S: Final = 60.0
"""At most one line of each kind of refusal of an entry in so long: anybody may send what is refused."""


class Result(StrEnum):
    """What became of a request."""

    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"
    REJECTED = "rejected"
    """It cannot be an event, and is kept."""
    REFUSED = "refused"
    """Its signature, time, sender or mode is not right."""
    TOO_LARGE = "too_large"
    BUSY = "busy"
    """Too many requests, or too many of this client's had no right signature."""
    UNAVAILABLE = "unavailable"
    """The daemon could not take it; the provider sends it again."""
    INCOMPLETE = "incomplete"
    """Its body ended too early."""

    @classmethod
    def of_problem(cls, code: str) -> "Result":
        """Return what a problem's code is counted as."""
        return cls(code) if code in {each.value for each in cls} else cls.UNAVAILABLE


class WebhookCounts:
    """Counts requests. `clock` is monotonic, in seconds."""

    def __init__(self) -> None:
        self._counts: Counter[tuple[str, Result]] = Counter()
        self._refusals: dict[tuple[str, str], tuple[float, int]] = {}

    def add(self, entry: str, result: Result) -> None:
        """Count a request."""
        self._counts[entry, result] += 1

    def refused(self, entry: str, code: str) -> int | None:
        """Note a refusal; return how many there were since the last line, where one is to be logged."""
        now = time.monotonic()
        logged_at, count = self._refusals.get((entry, code), (-LOGGED_EVERY_S, 0))
        due = now - logged_at >= LOGGED_EVERY_S
        self._refusals[entry, code] = (now, 0) if due else (logged_at, count + 1)
        return count + 1 if due else None

    def of(self, entries: Iterable[str]) -> Mapping[str, Mapping[str, int]]:
        """Return the counts of these entries, and no others, by result."""
        return {
            entry: {result.value: self._counts[entry, result] for result in Result}
            for entry in entries
        }
