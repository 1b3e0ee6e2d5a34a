"""The selections that have one pattern in common, arranged so that an event finds its own fast."""

import math
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from relayd.core.conditions import Among, Condition, distinct, key_of
from relayd.core.parts import Parts

_KEYS_AT_ONCE: Final = 500  # 0.2 ms


class Content:
    """An event's content, in which each path is looked up once."""

    __slots__ = ("_envelope", "_values")

    def __init__(self, envelope: Mapping[str, Any], values: Mapping[str, list[object]]) -> None:
        self._envelope = envelope
        self._values = dict(values)

    def values(self, condition: Condition) -> list[object]:
        """Return what is at the condition's path."""
        values = self._values.get(condition.path)
        if values is None:
            values = self._values[condition.path] = distinct(condition.values(self._envelope))
        return values

    def satisfies(self, conditions: Iterable[Condition]) -> bool:
        """Tell whether all the conditions hold."""
        return all(condition.test.holds(self.values(condition)) for condition in conditions)


@dataclass(frozen=True, slots=True)
class Member:
    """A selection's position in the configuration, and the conditions left to check."""

    position: int
    conditions: tuple[Condition, ...]


class Group:
    """The selections that have one pattern in common.

    Those with a condition of equality are found by the value at its path; of several such
    conditions the one that is shared with the fewest selections is taken. Those with conditions
    of other kinds alone are tried one by one.
    """

    __slots__ = ("_indexes", "_rest", "unconditional")

    def __init__(self) -> None:
        self._indexes: dict[str, tuple[Condition, dict[Hashable, list[Member]]]] = {}
        self._rest: list[Member] = []
        self.unconditional: list[int] = []

    def arrange(self, members: Sequence[Member]) -> Parts[None]:
        """Take in the selections that have the pattern, once."""
        sharing: Counter[tuple[str, Hashable]] = Counter()
        for member in members:
            for condition, test in _equalities(member):
                for number, key in enumerate(test.keys, start=1):
                    sharing[condition.path, key] += 1
                    if number % _KEYS_AT_ONCE == 0:
                        yield
            yield
        for member in members:
            yield from self._add(member, sharing)
            yield

    def _add(self, member: Member, sharing: Mapping[tuple[str, Hashable], int]) -> Parts[None]:
        if not member.conditions:
            self.unconditional.append(member.position)
            return
        narrowest: tuple[Condition, Among] | None = None
        shared_with = math.inf
        for condition, test in _equalities(member):
            most = 0
            for number, key in enumerate(test.keys, start=1):
                most = max(most, sharing[condition.path, key])
                if number % _KEYS_AT_ONCE == 0:
                    yield
            if most < shared_with:
                narrowest, shared_with = (condition, test), most
        if narrowest is None:
            self._rest.append(member)
            return
        condition, test = narrowest
        left = tuple(other for other in member.conditions if other is not condition)
        indexed = Member(member.position, left)
        _, index = self._indexes.setdefault(condition.path, (condition, {}))
        for number, key in enumerate(test.keys, start=1):
            index.setdefault(key, []).append(indexed)
            if number % _KEYS_AT_ONCE == 0:
                yield

    @property
    def looks_inside(self) -> bool:
        """Whether any of the selections has a condition."""
        return bool(self._indexes or self._rest)

    def collect(self, content: Content, found: set[int]) -> None:
        """Add the positions of the selections that want the event to `found`."""
        for condition, index in self._indexes.values():
            for value in content.values(condition):
                for member in index.get(key_of(value), ()):
                    if content.satisfies(member.conditions):
                        found.add(member.position)
        found.update(
            member.position for member in self._rest if content.satisfies(member.conditions)
        )
        found.update(self.unconditional)


def _equalities(member: Member) -> list[tuple[Condition, Among]]:
    return [
        (condition, condition.test)
        for condition in member.conditions
        if isinstance(condition.test, Among)
    ]
