"""Conditions on an event's content: what they are, whether they hold, and why not.

A condition has a path and what must be found there. A path is dotted and begins with a key of the
event: `data.object.total`. A number as a part indexes a list, and `*` stands for any element of a
list or any value of an object. A key that itself holds a dot, or is `*`, cannot be addressed.

Values are equal as in JSON: 1 is 1.0, but neither `true` nor "1". Numbers are ordered among
numbers and text among text; nothing else is.

With `*` a path finds several values, and one of them must satisfy the condition, all the operators
together. `not` then means that none does. Where nothing is found, equality, order and `glob` fail,
and `not` holds.
"""

import json
import operator
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from relayd.core.glob import Glob

Scalar = str | int | float | bool | None
"""A JSON value that is neither a list nor an object."""

Parts = tuple[tuple[str, int], ...]
"""A path's parts, each with the list position that it means, or -1."""

LONGEST_SHOWN: Final = 40
"""Characters of text that an explanation may quote from an event; longer text is only counted."""

_ORDERS: Final[Mapping[str, tuple[Callable[[Any, Any], bool], str]]] = {
    "gt": (operator.gt, "more than"),
    "gte": (operator.ge, "at least"),
    "lt": (operator.lt, "less than"),
    "lte": (operator.le, "at most"),
}
_LARGEST_SHOWN: Final = 1e21
_LONGEST_INDEX: Final = 9
"""Digits of a list position: no event has a longer list, and int() refuses text of thousands."""
_MOST_LISTED: Final = 10
_FEW: Final = 100
_WELL_HASHED: Final = 2**60
_COMPOUND: Final = object()


@dataclass(frozen=True, slots=True)
class Among:
    """One of these values must be found. `written` holds them in the order of the configuration."""

    keys: frozenset[Hashable]
    written: tuple[Scalar, ...] = field(compare=False)

    def holds(self, values: Iterable[object]) -> bool:
        """Tell whether the values found satisfy this."""
        return any(key_of(value) in self.keys for value in values)


@dataclass(frozen=True, slots=True)
class Order:
    """A value in some order (`gt`, `gte`, `lt` or `lte`) to the operand."""

    name: str
    operand: float | str

    def accepts(self, value: object) -> bool:
        """Tell whether one value satisfies this."""
        comparable = isinstance(value, str) if isinstance(self.operand, str) else _is_number(value)
        return comparable and _ORDERS[self.name][0](value, self.operand)


@dataclass(frozen=True, slots=True)
class Operators:
    """All the operators written for one path, or in one `not`; all of them must hold."""

    checks: tuple[Order | Glob, ...] = ()
    exists: bool | None = None
    negated: "Among | Operators | None" = None

    def globs(self) -> Iterator[Glob]:
        """Yield the shell patterns in this."""
        yield from (check for check in self.checks if isinstance(check, Glob))
        if isinstance(self.negated, Operators):
            yield from self.negated.globs()

    def holds(self, values: Sequence[object]) -> bool:
        """Tell whether the values found satisfy this."""
        return (
            (self.exists is None or self.exists == bool(values))
            and (not self.checks or self._any_accepted(values))
            and (self.negated is None or not self.negated.holds(values))
        )

    def _any_accepted(self, values: Sequence[object]) -> bool:
        if len(self.checks) == 1:
            return any(map(self.checks[0].accepts, values))
        return any(all(check.accepts(value) for check in self.checks) for value in values)


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be found at one path. Equal conditions select the same events.

    `parts` holds the path's parts, each with the list position that it means, or -1.
    """

    path: str
    test: Among | Operators
    parts: Parts = field(compare=False, repr=False)

    def values(self, envelope: Mapping[str, Any]) -> list[object]:
        """Return what is at the path: nothing, one value, or with `*` any number of them."""
        return values_at(self.parts, envelope)

    def failure(self, envelope: Mapping[str, Any]) -> str | None:
        """Say in words what was found and what must be, or return None when the condition holds.

        Of the event, numbers, booleans, null and text of up to 40 characters are shown.
        """
        values = self.values(envelope)
        if self.test.holds(values):
            return None
        if not values:
            return f"{self.path} is missing"
        return f"{self._found(values)}, and {_demand(self.test, values)}"

    def _found(self, values: Sequence[object]) -> str:
        if len(values) == 1 and isinstance(values[0], list | dict):
            return f"{self.path} is {shown(values[0])} (what is in it is {self.path}.*)"
        return f"{self.path} is {listing((shown(value) for value in values), 'and', most=3)}"


def parts_of(path: str) -> Parts:
    """Return a path's parts, each with the list position that it means, or -1."""
    return tuple((part, _list_position(part)) for part in path.split("."))


def values_at(parts: Parts, envelope: Mapping[str, Any]) -> list[object]:
    """Return what is at a path: nothing, one value, or with `*` any number of them."""
    first, _ = parts[0]
    found: list[object] = [envelope[first]] if first in envelope else []
    for name, index in parts[1:]:
        below: list[object] = []
        for value in found:
            if isinstance(value, dict):
                if name == "*":
                    below += value.values()
                elif name in value:
                    below.append(value[name])
            elif isinstance(value, list):
                if name == "*":
                    below += value
                elif 0 <= index < len(value):
                    below.append(value[index])
        found = below
    return found


def distinct(values: list[object]) -> list[object]:
    """Return values of which each test holds as it does for these: one of those that are equal.

    With `*` an event of 1 MiB has 350,000 values, and each condition looks at all of them.
    """
    if len(values) <= _FEW:
        return values
    kept: list[object] = []
    for kind in dict.fromkeys(map(type, values)):
        alike = [value for value in values if type(value) is kind]
        if kind is dict or kind is list:
            kept.append(alike[0])  # Of these, conditions see no more than that they are there.
            continue
        if kind is int:
            # Larger integers can be chosen such that all have one hash, and a dict takes an hour.
            kept += [value for value in alike if not _is_small(value)]
            alike = list(filter(_is_small, alike))
        kept += dict.fromkeys(alike)
    return kept


def _is_small(value: object) -> bool:
    return isinstance(value, int) and -_WELL_HASHED < value < _WELL_HASHED


def _list_position(part: str) -> int:
    if part.isascii() and part.isdigit() and len(part) <= _LONGEST_INDEX:
        return int(part)
    return -1


def key_of(value: object) -> Hashable:
    """Return a key that equal JSON scalars share, and no two that differ.

    Lists and objects all have the same key, which is no scalar's.
    """
    # Python takes True for 1, in a dict too; JSON does not.
    if value is True or value is False:
        return (bool, value)
    return value if value is None or isinstance(value, str | int | float) else _COMPOUND


def shown(value: object) -> str:
    """Return a JSON value as an explanation may show it: short scalars, or else their kind."""
    match value:
        case None | bool():
            return json.dumps(value)
        case str() if len(value) <= LONGEST_SHOWN:
            # What a terminal would act on, or could not print, is escaped.
            return json.dumps(value, ensure_ascii=not value.isprintable())
        case str():
            return f"text of {len(value)} characters"
        case int() | float():
            return _shown_number(value)
        case list():
            return f"a list of {len(value)}"
        case _:
            return "an object"


def _shown_number(number: float) -> str:
    # An integer of thousands of digits cannot even be printed: Python refuses to.
    if not abs(number) < _LARGEST_SHOWN:
        return "a number too large to show"
    return str(int(number)) if number == int(number) else repr(float(number))


def listing(items: Iterable[str], conjunction: str, *, most: int = _MOST_LISTED) -> str:
    """Return `a, b and c`, each item once; past `most` of them, how many more there are."""
    distinct = list(dict.fromkeys(items))
    if len(distinct) > most + 1:
        distinct = [*distinct[:most], f"{len(distinct) - most} more"]
    *others, last = distinct
    return f"{', '.join(others)} {conjunction} {last}" if others else last


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _demand(test: Among | Operators, values: Sequence[object]) -> str:
    """Say what the values found, of which there are some, fail to satisfy."""
    must, must_not = ("must", "must not") if len(values) == 1 else ("one must", "none may")
    if isinstance(test, Among):
        return f"{must} {_phrase(test)}"
    demands: list[str] = []
    if test.exists is False:
        demands.append("must be missing")
    checks = Operators(test.checks)
    if not checks.holds(values):
        if len(values) == 1:
            checks = Operators(tuple(c for c in test.checks if not c.accepts(values[0])))
        demands.append(f"{must} {_phrase(checks)}")
    if test.negated is not None and test.negated.holds(values):
        demands.append(f"{must_not} {_phrase(test.negated)}")
    return " and ".join(demands)


def _phrase(test: Among | Operators) -> str:
    """Return a test as words that follow `must`."""
    if isinstance(test, Among):
        several = "one of " if len(test.written) > 1 else ""
        return f"be {several}{listing(map(shown, test.written), 'or')}"
    phrases = [
        f"match {shown(check.pattern)}"
        if isinstance(check, Glob)
        else f"be {_ORDERS[check.name][1]} {shown(check.operand)}"
        for check in test.checks
    ]
    if test.exists is not None:
        phrases.append("be there" if test.exists else "be missing")
    if test.negated is not None:
        phrases.append(f"not {_phrase(test.negated)}")
    return " and ".join(phrases)
