"""What the operator had said, and when: what may have been in force at a moment of a run.

All times are monotonic, in seconds. A change is `sent` at one moment and `settled` when relayd has
answered: in between, either may hold.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from torture.configuration import FIRST, OPERATED, Layout

T = TypeVar("T")


@dataclass(slots=True)
class Change(Generic[T]):
    """Something that holds from `settled` on, and may from `sent` on."""

    value: T
    sent: float
    settled: float = math.inf


class History(Generic[T]):
    """The values that something had, one after the other."""

    def __init__(self, first: T) -> None:
        self.changes: list[Change[T]] = [Change(first, -math.inf, -math.inf)]

    def begin(self, value: T, at: float) -> Change[T]:
        """Note that another value was asked for; the caller says when it has `settled`."""
        change = Change(value, at)
        self.changes.append(change)
        return change

    def spans(self) -> Iterator[tuple[float, float, T]]:
        """Return when each value may have been in force: from, to, and the value."""
        for number, change in enumerate(self.changes):
            # The next one may settle before this one has: then both were answered together.
            later = [each.settled for each in self.changes[number + 1 :]]
            yield change.sent, min(later, default=math.inf), change.value

    def possible(self, begin: float, end: float) -> list[T]:
        """Return the values that may have been in force at any time from `begin` to `end`."""
        return [value for since, until, value in self.spans() if since <= end and until >= begin]


@dataclass(frozen=True, slots=True)
class Cancellation:
    """Deliveries that were cancelled at `answered`, `in_flight` of all `asked` being attempted then."""

    answered: float
    asked: frozenset[int]
    in_flight: int
    cancelled: frozenset[int]
    subscription: str


@dataclass(slots=True)
class Timeline:
    """All that the operator did."""

    layouts: History[Layout] = field(default_factory=lambda: History(FIRST))
    paused: Mapping[str, History[bool]] = field(
        default_factory=lambda: {name: History(False) for name in OPERATED}
    )
    cancellations: list[Cancellation] = field(default_factory=list)
    replayed: defaultdict[int, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When each delivery was asked to be replayed, by its number."""
    all_replayed: defaultdict[str, list[float]] = field(default_factory=lambda: defaultdict(list))
    """When all cancelled ones of a subscription were."""
    tests: Counter[str] = field(default_factory=Counter)
    """How often a sample was asked for, by subscription."""

    def allowed(self, subscription: str, place: str) -> list[tuple[float, float]]:
        """Return the spans in which a subscription may have been delivered at a place, in order."""
        there = _joined(
            (since, until)
            for since, until, layout in self.layouts.spans()
            if layout.url[subscription] == place and layout.active[subscription]
        )
        going = _joined(
            (since, until)
            for since, until, paused in self.paused[subscription].spans()
            if not paused
        )
        both = (
            (max(a[0], b[0]), min(a[1], b[1]))
            for a in there
            for b in going
            if a[0] <= b[1] and b[0] <= a[1]
        )
        return _joined(both)

    def replays_of(self, seq: int, subscription: str) -> Sequence[float]:
        """Return when a delivery may have been replayed."""
        return [*self.replayed.get(seq, ()), *self.all_replayed.get(subscription, ())]


def _joined(spans: Iterator[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the spans in order, those that touch made one."""
    joined: list[tuple[float, float]] = []
    for since, until in sorted(spans):
        if joined and since <= joined[-1][1]:
            joined[-1] = joined[-1][0], max(until, joined[-1][1])
        else:
            joined.append((since, until))
    return joined
