"""Which subscriptions an event goes to: patterns of event types, and conditions on its content.

An event costs what it matches, not what is configured: selections are found by the event's type,
and below that by the value at one path that they compare for equality.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from relayd.core.conditions import Condition, Operators, listing
from relayd.core.order import OrderBy
from relayd.core.parts import Parts, whole
from relayd.core.patterns import OWN_PREFIX, pattern_matches
from relayd.core.selection_groups import Content, Group, Member
from relayd.core.where import ConditionErrors, compile_where

__all__ = [
    "Condition",
    "ConditionErrors",
    "Matcher",
    "Selection",
    "Verdict",
    "compile_where",
]


_KNOWN_TYPES: Final = 1_000
_KNOWN_NAMES: Final = 100
"""Of so many types it is remembered which selections want them, and where these are at most so many:
a producer may make up any number of types. That is under a megabyte."""


@dataclass(frozen=True, slots=True)
class Selection:
    """Which events a subscription wants: one of its patterns matches, and all conditions hold.

    `order_by` says which of them are sent one after the other; None: in any order.
    """

    events: tuple[str, ...]
    where: tuple[Condition, ...] = ()
    order_by: OrderBy | None = None


@dataclass(frozen=True, slots=True)
class Matches:
    """The names of the selections that want an event, and its key in those that order it."""

    names: tuple[str, ...]
    order_keys: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one selection wants an event, and why, in plain words."""

    name: str
    matched: bool
    reason: str


class Matcher:
    """The selections of one configuration by name, arranged so that an event finds its own fast."""

    def __init__(self, selections: Mapping[str, Selection]) -> None:
        self._selections = dict(selections)
        self._names = tuple(self._selections)
        self._groups: dict[str, Group] = {}
        self._orders: dict[str, OrderBy] = {}
        self._by_type: dict[str, Matches | None] = {}
        self.paths: tuple[str, ...] = ()
        """The paths below `data` at which conditions and orders look."""
        whole(self._arrange())

    @classmethod
    def in_parts(cls, selections: Mapping[str, Selection]) -> Parts["Matcher"]:
        """Make a matcher of thousands of selections in parts."""
        matcher = cls({})
        matcher._selections = dict(selections)
        matcher._names = tuple(matcher._selections)
        yield from matcher._arrange()
        return matcher

    def _arrange(self) -> Parts[None]:
        members: dict[str, list[Member]] = {}
        paths: set[str] = set()
        for position, selection in enumerate(self._selections.values()):
            for pattern in dict.fromkeys(selection.events):
                members.setdefault(pattern, []).append(Member(position, selection.where))
            for condition in selection.where:
                if isinstance(condition.test, Operators):
                    for glob in condition.test.globs():
                        glob.prepare()
                        yield
            paths.update(
                condition.path for condition in selection.where if condition.parts[0][0] == "data"
            )
            if selection.order_by is not None:
                self._orders[self._names[position]] = selection.order_by
                if selection.order_by.parts[0][0] == "data":
                    paths.add(selection.order_by.path)
            yield
        for pattern, group in members.items():
            self._groups[pattern] = Group()
            yield from self._groups[pattern].arrange(group)
        self.paths = tuple(sorted(paths))

    def of_type(self, event_type: str) -> Matches | None:
        """Return the selections that want an event of this type, whatever it holds.

        None where that depends on what it holds: see `matches`.
        """
        try:
            return self._by_type[event_type]
        except KeyError:
            found = self._of_type(event_type)
            few = found is None or len(found.names) <= _KNOWN_NAMES
            if few and len(self._by_type) < _KNOWN_TYPES:
                self._by_type[event_type] = found
            return found

    def _of_type(self, event_type: str) -> Matches | None:
        found: set[int] = set()
        for pattern in _patterns_of(event_type):
            group = self._groups.get(pattern)
            if group is not None:
                if group.looks_inside:
                    return None
                found.update(group.unconditional)
        names = tuple(self._names[position] for position in sorted(found))
        return None if any(name in self._orders for name in names) else Matches(names)

    def match(
        self, envelope: Mapping[str, Any], values: Mapping[str, list[object]] | None = None
    ) -> list[str]:
        """Return the names of the selections that want an event, in the configuration's order.

        With `values`, what is at each of `paths`, the envelope needs no `data`.
        """
        found: set[int] = set()
        content = Content(envelope, values or {})
        for pattern in _patterns_of(envelope["type"]):
            group = self._groups.get(pattern)
            if group is not None:
                group.collect(content, found)
        return [self._names[position] for position in sorted(found)]

    def matches(
        self, envelope: Mapping[str, Any], values: Mapping[str, list[object]] | None = None
    ) -> Matches:
        """Return the selections that want an event, as `match` does, and its keys in their orders."""
        names = self.match(envelope, values)
        if not self._orders:
            return Matches(tuple(names))
        keys = [
            (name, order.key(envelope, values or {}))
            for name in names
            if (order := self._orders.get(name)) is not None
        ]
        return Matches(tuple(names), tuple((name, key) for name, key in keys if key is not None))

    def explain(self, envelope: Mapping[str, Any]) -> list[Verdict]:
        """Return a verdict for each selection, in the configuration's order.

        Of the event a reason shows its type, numbers, booleans, null and short text.
        """
        return [_verdict(name, selection, envelope) for name, selection in self._selections.items()]


def _patterns_of(event_type: str) -> list[str]:
    """Return every pattern that matches a type."""
    words = event_type.split(".")
    patterns = [".".join([*words[:count], "*"]) for count in range(1, len(words))]
    if not event_type.startswith(OWN_PREFIX):
        patterns.append("*")
    return [event_type, *patterns]


def _verdict(name: str, selection: Selection, envelope: Mapping[str, Any]) -> Verdict:
    event_type = envelope["type"]
    pattern = next((p for p in selection.events if pattern_matches(p, event_type)), None)
    if pattern is None:
        return Verdict(name, matched=False, reason=_wrong_type(selection.events, event_type))
    failures = [condition.failure(envelope) for condition in selection.where]
    failed = [failure for failure in failures if failure is not None]
    if failed:
        return Verdict(name, matched=False, reason="; ".join(failed))
    match len(selection.where):
        case 0:
            conditions = ""
        case 1:
            conditions = " and its condition"
        case count:
            conditions = f" and its {count} conditions"
    return Verdict(name, matched=True, reason=f"matches {pattern}{conditions}")


def _wrong_type(patterns: Sequence[str], event_type: str) -> str:
    if not patterns:
        return f"it has no events, this is {event_type}"
    reason = f"its events are {listing(patterns, 'and')}, this is {event_type}"
    if "*" in patterns:
        return f"{reason}: relayd's own events are subscribed to by name, or as relayd.*"
    return reason
