"""Conditions on an event's content: a subscription's `where`, read, tested and explained.

`where` maps paths to what must be found there; an event is selected when every condition holds.

A path is dotted and begins with a key of the event: `data.object.total`. A number as a part indexes
a list, and `*` stands for any element of a list or any value of an object. A key that itself holds
a dot, or is `*`, cannot be addressed.

What must be found is a value, a list of which one must be found, or a mapping of operators that
must all hold: `gt`, `gte`, `lt`, `lte`, `glob`, `exists`, and `not`, which takes any of the three.
Values are equal as in JSON: 1 is 1.0, but neither `true` nor "1". Numbers are ordered among
numbers and text among text; nothing else is.

On a path with `*` one element must satisfy the value, the list, or all the operators together;
`not` then means that no element does. Where nothing is found, a value, a list, an order and a
`glob` fail, and `not` holds.
"""

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from enum import Enum
from fnmatch import translate
from typing import Any, Final

from relayd.core.wording import listed, shown

ENVELOPE_KEYS: Final = ("id", "type", "created", "data", "market_id", "api_version")
"""An event's keys, in the order of the wire."""

OPERATORS: Final = ("gt", "gte", "lt", "lte", "not", "exists", "glob")

Location = tuple[str | int, ...]
"""Where in `where` a problem is: its keys and list positions, from the outside in."""

_OTHER_SPELLINGS: Final = {
    ">": "gt",
    ">=": "gte",
    "<": "lt",
    "<=": "lte",
    "min": "gte",
    "max": "lte",
    "!=": "not",
    "ne": "not",
    "like": "glob",
    "match": "glob",
}
_DEEPEST_NOT: Final = 8
"""`not` in `not` says nothing new; the bound only keeps a hostile file off the recursion limit."""
_LONGEST_INDEX: Final = 9
"""Digits of a list position; an event of 1 MiB has no longer list."""


class ConditionErrors(ValueError):
    """A `where` that cannot be used: `problems` holds all of them, each with its location."""

    def __init__(self, problems: Sequence[tuple[Location, str]]) -> None:
        self.problems = tuple(problems)
        lines = (f"{' > '.join(map(str, where))}: {what}" for where, what in self.problems)
        super().__init__("; ".join(lines))


class _Boolean(Enum):
    """JSON's true and false, apart from 1 and 0, which Python takes for the same."""

    TRUE = True
    FALSE = False


Key = str | int | float | _Boolean | None
"""A JSON scalar such that equal keys are equal JSON, fit for a dict."""


@dataclass(frozen=True, slots=True)
class Among:
    """The value found is one of these. `written` keeps the order in which they were listed."""

    keys: frozenset[Key]
    written: tuple[Key, ...] = field(compare=False)

    def holds(self, values: Sequence[object]) -> bool:
        """Tell whether one of the values found satisfies this."""
        return any(key_of(value) in self.keys for value in values)


@dataclass(frozen=True, slots=True)
class Order:
    """The value found stands in an order (`gt`, `gte`, `lt`, `lte`) to the operand."""

    name: str
    operand: float | str

    def accepts(self, value: object) -> bool:
        """Tell whether one value satisfies this."""
        comparable = isinstance(value, str) if isinstance(self.operand, str) else is_number(value)
        return comparable and _ORDERS[self.name][0](value, self.operand)


@dataclass(frozen=True, slots=True)
class Glob:
    """The value found is text that a shell pattern matches whole, and with its case."""

    pattern: str
    regex: re.Pattern[str] = field(compare=False, repr=False)

    def accepts(self, value: object) -> bool:
        """Tell whether one value satisfies this."""
        return isinstance(value, str) and self.regex.match(value) is not None


@dataclass(frozen=True, slots=True)
class Operators:
    """All the operators that were written for one path, or in one `not`."""

    checks: tuple[Order | Glob, ...] = ()
    exists: bool | None = None
    negated: "Among | Operators | None" = None

    def holds(self, values: Sequence[object]) -> bool:
        """Tell whether the values found satisfy this."""
        return (
            (self.exists is None or self.exists == bool(values))
            and (not self.checks or any(self._accepts(value) for value in values))
            and (self.negated is None or not self.negated.holds(values))
        )

    def _accepts(self, value: object) -> bool:
        return all(check.accepts(value) for check in self.checks)


@dataclass(frozen=True, slots=True)
class Condition:
    """What must be found at one path. Equal conditions select the same events."""

    path: str
    test: Among | Operators
    parts: tuple[tuple[str, int], ...] = field(compare=False, repr=False)
    """The path's parts, each with the list position that it is, or -1."""

    def values(self, envelope: Mapping[str, Any]) -> list[object]:
        """Return what is at the path: nothing, one value, or with `*` any number."""
        found: list[object] = [envelope]
        for name, index in self.parts:
            if name == "*":
                found = [child for value in found for child in _children(value)]
                continue
            below: list[object] = []
            for value in found:
                if isinstance(value, Mapping):
                    if name in value:
                        below.append(value[name])
                elif isinstance(value, list) and 0 <= index < len(value):
                    below.append(value[index])
            found = below
        return found

    def failure(self, envelope: Mapping[str, Any]) -> str | None:
        """Say in words what was found instead, or return None when the condition holds.

        Numbers, booleans, null and text of up to 40 characters are shown; all else is only named.
        """
        values = self.values(envelope)
        if self.test.holds(values):
            return None
        if not values:
            return f"{self.path} is missing"
        found = _found(self.path, values)
        return f"{found}, and {_demand(self.test, values, several='*' in self.path.split('.'))}"


def compile_where(where: Mapping[str, object]) -> tuple[Condition, ...]:
    """Return the conditions of a `where`. Raises `ConditionErrors` with all that is wrong."""
    problems: list[tuple[Location, str]] = []
    conditions: list[Condition] = []
    for path, wanted in where.items():
        if (problem := _path_problem(path)) is not None:
            problems.append(((path if isinstance(path, str | int) else str(path),), problem))
            continue
        test = _read(wanted, (path,), problems, 0)
        if test is not None:
            parts = tuple((part, _index(part)) for part in path.split("."))
            conditions.append(Condition(path, test, parts))
    if problems:
        raise ConditionErrors(problems)
    return tuple(conditions)


def key_of(value: object) -> Key | Ellipsis_:
    """Return a JSON value's key; `...` stands for every list and object, which equal no scalar."""
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return _Boolean(value)
    return value if isinstance(value, int | float) else ...
