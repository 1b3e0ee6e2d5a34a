"""A subscription's `where`, read from the configuration into conditions, or all its problems.

`where` maps paths to what must be found there; an event is selected when every condition holds.
What must be found is a value, a list of values of which one must be found, or a mapping of
operators that must all hold: `gt`, `gte`, `lt`, `lte`, `glob`, `exists`, and `not`, which takes any
of the three. `relayd.core.conditions` says what paths and operators mean.
"""

import math
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any, Final

from relayd.core.conditions import (
    Among,
    Condition,
    Operators,
    Order,
    Scalar,
    key_of,
    listing,
    parts_of,
)
from relayd.core.glob import LONGEST, Glob
from relayd.core.impossible import impossibility

ENVELOPE_KEYS: Final = ("id", "type", "created", "data", "market_id", "api_version")
"""An event's keys, in the order of the wire. Only `data` has anything below it."""

OPERATORS: Final = ("gt", "gte", "lt", "lte", "not", "exists", "glob")
_NAMED: Final = listing(OPERATORS, "and")

Location = tuple[str | int, ...]
"""Where in a `where` something stands: keys and list positions, from the outside in."""

_OTHER_SPELLINGS: Final = {
    ">": "gt",
    ">=": "gte",
    "min": "gte",
    "<": "lt",
    "<=": "lte",
    "max": "lte",
    "!=": "not",
    "ne": "not",
    "like": "glob",
    "matches": "glob",
}
_EQUALITY_SPELLINGS: Final = frozenset({"=", "==", "eq", "equals", "is", "in", "any", "one_of"})
_COMPARISON: Final = re.compile(
    r"\s*(>=|<=|>|<|!=|<>|==|=|\u2265|\u2264|\u2260)\s*(-?[0-9]+(?:\.[0-9]+)?)\s*"
)
"""A comparison written as text, as `>5000`."""
_ASCII: Final = {"\u2265": ">=", "\u2264": "<=", "\u2260": "!=", "<>": "!="}
_BRACKETS: Final = re.compile(r"\[(?:\*|(\d*)|[\"'](\w+)[\"'])\]")
"""Lists as jq and JSONPath have them: `items[]`, `items[*]`, `items[0]`, and `data["object"]`."""
_DEEPEST_NOT: Final = 8
"""`not` in `not` says nothing new; a bound keeps a hostile file from the limit of recursion."""


class ConditionErrors(ValueError):  # noqa: N818 - it holds several
    """A `where` that cannot be used: `problems` holds each problem with its location."""

    def __init__(self, problems: Sequence[tuple[Location, str]]) -> None:
        self.problems = tuple(problems)
        super().__init__(
            "; ".join(f"{' > '.join(map(str, location))}: {text}" for location, text in problems)
        )


def compile_where(where: Mapping[str, object]) -> tuple[Condition, ...]:
    """Return the conditions that `where` states, in its order.

    Raises ConditionErrors with all of its problems at once.
    """
    reader = _Reader()
    conditions: list[Condition] = []
    # A key that is no text is a problem to report here, whatever the type says.
    written: Mapping[Any, object] = where
    for path, wanted in written.items():
        location = (_key(path),)
        problem = path_problem(path)
        if problem is not None:
            reader.problems.append((location, problem))
        test = reader.test(wanted, location)
        if problem is None and test is not None:
            if (problem := impossibility(path, test)) is not None:
                reader.problems.append((location, problem))
                continue
            conditions.append(Condition(path, test, parts_of(path)))
    if reader.problems:
        raise ConditionErrors(reader.problems)
    return tuple(conditions)


class _Reader:
    """Reads what must be found, and gathers what is wrong with it in `problems`."""

    def __init__(self) -> None:
        self.problems: list[tuple[Location, str]] = []

    def test(self, wanted: object, location: Location, depth: int = 0) -> Among | Operators | None:
        """Return the test that a value, a list or a mapping of operators means."""
        if isinstance(wanted, Mapping):
            return self._operators(wanted, location, depth)
        if not isinstance(wanted, list | tuple):
            return self._among([(wanted, location)])
        if not wanted:
            self._refuse(location, "an empty list matches nothing; list at least one value")
            return None
        return self._among([(value, (*location, n)) for n, value in enumerate(wanted)])

    def _among(self, located: Sequence[tuple[object, Location]]) -> Among | None:
        written: list[Scalar] = []
        for value, location in located:
            if (problem := _scalar_problem(value)) is not None:
                self._refuse(location, problem)
            elif value is None or isinstance(value, str | int | float):
                written.append(value)
        if len(written) < len(located):
            return None
        return Among(frozenset(map(key_of, written)), tuple(written))

    def _operators(
        self, wanted: Mapping[object, object], location: Location, depth: int
    ) -> Operators | None:
        if not wanted:
            self._refuse(location, f"there is no operator; the operators are {_NAMED}")
            return None
        before = len(self.problems)
        checks: list[Order | Glob] = []
        exists: bool | None = None
        negated: Among | Operators | None = None
        for name, operand in wanted.items():
            place = (*location, _key(name))
            if name == "exists" and isinstance(operand, bool):
                exists = operand
            elif name == "exists":
                self._refuse(place, "exists is either true or false")
            elif name == "not" and depth < _DEEPEST_NOT:
                negated = self.test(operand, place, depth + 1)
            elif name == "not":
                self._refuse(place, "this not is nested too deeply")
            else:
                checks += self._checks(name, operand, place)
        return None if len(self.problems) > before else Operators(tuple(checks), exists, negated)

    def _checks(self, name: object, operand: object, place: Location) -> list[Order | Glob]:
        """Return the check that one operator means; none where it is refused."""
        if name == "glob" and isinstance(operand, str):
            if len(operand) <= LONGEST:
                return [Glob(operand)]
            reason = f"a glob has at most {LONGEST} characters, and this one {len(operand):,}"
            self._refuse(place, reason)
            return []
        if name == "glob":
            self._refuse(place, "glob takes a shell pattern, which is text, such as grower_*")
        elif not isinstance(name, str) or name not in OPERATORS:
            self._refuse(place, _unknown_operator(str(name), place))
        elif isinstance(operand, bool) or not isinstance(operand, str | int | float):
            self._refuse(place, f"{name} takes one number, or text")
        elif (problem := _scalar_problem(operand)) is not None:
            self._refuse(place, problem)
        else:
            return [Order(name, operand)]
        return []

    def _refuse(self, location: Location, problem: str) -> None:
        self.problems.append((location, problem))


def path_problem(path: object) -> str | None:
    """Say why no event has anything at this path, or return None."""
    if not isinstance(path, str):
        return "a path is text, such as data.object.total"
    if _BRACKETS.search(path):
        meant = _BRACKETS.sub(lambda match: f".{match[1] or match[2] or '*'}", path)
        return f"a path has no brackets; write {meant}"
    first, *below = path.split(".")
    if "" in (first, *below):
        return "a path is words joined by dots; a part of this one is empty"
    if first not in ENVELOPE_KEYS:
        keys = listing(ENVELOPE_KEYS, "and")
        if close := get_close_matches(first, ENVELOPE_KEYS, n=1):
            hint = f"did you mean {'.'.join([*close, *below])}?"
        else:
            inner = path if first == "object" else f"object.{path}"
            hint = f"its fields are below data, as in data.{inner}"
        return f"{first} is not a key of an event, which has {keys}; {hint}"
    if below and first != "data":
        return f"an event's {first} has nothing below it; write {first} alone"
    return None


def _scalar_problem(value: object) -> str | None:
    """Say why no JSON scalar equals this value, or return None."""
    if isinstance(value, float) and not math.isfinite(value):
        return "no JSON number is infinite or not a number"
    if isinstance(value, str) and (match := _COMPARISON.fullmatch(value)):
        operator = _OTHER_SPELLINGS.get(_ASCII.get(match[1], match[1]))
        meant = match[2] if operator is None else f"{{{operator}: {match[2]}}}"
        return f"would be compared as text, letter by letter; write {meant}"
    if value is None or isinstance(value, str | int | float):
        return None
    if isinstance(value, Mapping | list | tuple):
        return "must be text, a number, true, false or null"
    return f'is a {type(value).__name__}, which JSON does not have; put it in "quotes" for text'


def _unknown_operator(name: str, place: Location) -> str:
    if name in _EQUALITY_SPELLINGS:
        return f"{name} is not an operator; for equality write the value, or a list of them, alone"
    known = _OTHER_SPELLINGS.get(name) or next(iter(get_close_matches(name, OPERATORS, n=1)), None)
    if known is not None:
        return f"{name} is not an operator; did you mean {known}?"
    reason = f"{name} is not an operator; the operators are {_NAMED}"
    # Two places deep it may be a path that was written as nested mappings.
    return f"{reason}; a path is one key, {place[0]}.{name}" if len(place) == 2 else reason


def _key(key: object) -> str | int:
    """Return a mapping's key as a location holds it."""
    return key if isinstance(key, str | int) else str(key)
