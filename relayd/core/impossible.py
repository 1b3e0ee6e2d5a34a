"""Conditions that no event can satisfy: a subscription with one would wait in silence for ever."""

from collections.abc import Mapping
from typing import Final

from relayd.core.conditions import Among, Operators, Order, Scalar, listing, shown
from relayd.core.glob import Glob

_KINDS: Final[Mapping[str, str]] = {
    "id": "text",
    "type": "text",
    "created": "a number of Unix seconds",
    "data": "an object",
    "market_id": "text",
    "api_version": "text",
}
"""What each key of an event holds. What is below data can be anything."""


def impossibility(path: str, test: Among | Operators) -> str | None:
    """Return why no event satisfies `test` at `path`, or None where one may."""
    kind = _KINDS.get(path)
    if isinstance(test, Among):
        if kind is None or any(_is(kind, value) for value in test.written):
            return None
        return _other_kind(path, kind, test.written)
    operands = [check.operand for check in test.checks if isinstance(check, Order)]
    if kind is not None and not all(_is(kind, operand) for operand in operands):
        return _other_kind(path, kind, operands)
    globs = [check for check in test.checks if isinstance(check, Glob)]
    if kind not in {None, "text"} and globs:
        return f"an event's {path} is {kind}, and glob matches text"
    if test.exists is False and test.checks:
        return "what is missing cannot be compared: leave out exists, or the others"
    return _contradiction(test, globs)


def _contradiction(test: Operators, globs: list[Glob]) -> str | None:
    orders = [check for check in test.checks if isinstance(check, Order)]
    if len({isinstance(each.operand, str) for each in orders} | ({True} if globs else set())) > 1:
        return "no value is both a number and text"
    for low in orders:
        for high in orders:
            if low.name not in {"gt", "gte"} or high.name not in {"lt", "lte"}:
                continue
            # Both are of one kind: see above.
            if isinstance(low.operand, str) or isinstance(high.operand, str):
                below, same = str(high.operand) < str(low.operand), low.operand == high.operand
            else:
                below, same = high.operand < low.operand, low.operand == high.operand
            if below or (same and (low.name, high.name) != ("gte", "lte")):
                return (
                    f"no value is both {low.name} {shown(low.operand)}"
                    f" and {high.name} {shown(high.operand)}"
                )
    return None


def _is(kind: str, value: Scalar) -> bool:
    if kind == "text":
        return isinstance(value, str)
    return (
        kind != "an object"
        and isinstance(value, int | float)
        # Python's booleans are integers; JSON's are not.
        and not isinstance(value, bool)
    )


def _other_kind(path: str, kind: str, values: tuple[Scalar, ...] | list[float | str]) -> str:
    hint = ""
    if kind == "text" and all(isinstance(value, int | float) for value in values):
        hint = "; put it in quotes"
    elif kind == "an object":
        hint = "; what is in it has a path, as data.object.total"
    return f"an event's {path} is {kind}, and never {listing(map(shown, values), 'or')}{hint}"
