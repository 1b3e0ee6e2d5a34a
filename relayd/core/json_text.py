"""JSON as JavaScript prints it, so that a receiver in any language verifies a body.

Numbers by ECMAScript's Number::toString (262, 6.1.6.1.20), strings by QuoteJSONString (25.5.2.3),
keys by OrdinaryOwnPropertyKeys (10.1.11.1).
"""

import json
import re
from collections.abc import Callable
from decimal import Decimal
from json.encoder import encode_basestring
from typing import Any, Final, Self, TypeAlias

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"
_MAX_SAFE: Final = 2**53
_MAX_INDEX: Final = 2**32 - 2
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}")


class HugeNumber(float):
    """A number that JavaScript reads as Infinity: it is that, and prints as it was written."""

    __slots__ = ("literal",)

    def __new__(cls, literal: str) -> Self:
        """Read a number of any size; `literal` is its JSON text."""
        self = super().__new__(cls, literal)
        self.literal = literal
        return self

    literal: str


def stringify(value: JsonValue) -> str:
    """Return `JSON.stringify(JSON.parse(text))` for the text that `value` was parsed from.

    Integers and numbers that JavaScript cannot carry are printed with their own digits. Half of a
    surrogate pair stays in the text as it is: `encoded` escapes it. Raises TypeError for what is
    not JSON.
    """
    printed = _PRINTED_BY.get(type(value))
    return _printed_as_base(value) if printed is None else printed(value)


def plain_text(value: JsonValue) -> str:
    """Return what `stringify` does for a value that was parsed as plain, in less than half the time."""
    return _PLAIN_ENCODER.encode(value)


def encoded(text: str) -> bytes:
    r"""Return JSON text in UTF-8, half of a surrogate pair as the escape that JavaScript prints.

    `text` is what `stringify` returned, alone or inside a larger JSON text: a surrogate can only
    stand inside a string there. Python joins the two halves of a pair when it parses, so that each
    surrogate left is alone.
    """
    # Only surrogates cannot be encoded, and this handler writes them as JavaScript does. It is C: a
    # call of Python for each half would take a second for a hostile MiB.
    return text.encode("utf-8", "backslashreplace")


def in_javascript_order(members: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """Put the keys that could index an array first, ascending."""
    indices = sorted(int(key) for key in members if is_index(key))
    return {str(index): members[str(index)] for index in indices} | members


def is_index(key: str) -> bool:
    """Tell whether a key could index an array."""
    return _INDEX.fullmatch(key) is not None and int(key) <= _MAX_INDEX


def is_carried(value: int) -> bool:
    """Tell whether what JavaScript prints for this integer still has its value."""
    if -_MAX_SAFE <= value <= _MAX_SAFE:
        return True
    try:
        return Decimal(number_text(float(value))) == value
    except OverflowError:
        return False


def _object_text(members: dict[str, JsonValue]) -> str:
    if any(map(str.isdecimal, members)):
        members = in_javascript_order(members)
    printed = [f"{encode_basestring(key)}:{stringify(value)}" for key, value in members.items()]
    return "{" + ",".join(printed) + "}"


def _list_text(values: list[JsonValue]) -> str:
    return "[" + ",".join([stringify(value) for value in values]) + "]"


def _integer_text(number: int) -> str:
    if -_MAX_SAFE <= number <= _MAX_SAFE or not is_carried(number):
        return int.__repr__(number)
    return number_text(float(number))


def number_text(number: float) -> str:
    """Print a double as JavaScript does.

    Python's `repr` finds the same digits, the shortest that read back as this double. Only the
    form differs: it keeps `.0`, changes to exponents at 1e16 and 1e-4 in place of 1e21 and 1e-6,
    and writes these with two digits.
    """
    text = float.__repr__(number)
    if text.endswith(".0"):
        return "0" if text == "-0.0" else text[:-2]
    if "e" in text:
        return _exponent_text(text)
    # JSON.stringify prints null for NaN and Infinity, the only ones with this letter.
    return "null" if "n" in text else text


def _exponent_text(text: str) -> str:
    mantissa, _, power_text = text.partition("e")
    power = int(power_text)
    if power >= 21:
        return text
    if power < -6:
        return f"{mantissa}e{power}"
    sign = "-" if mantissa.startswith("-") else ""
    digits = mantissa.lstrip("-").replace(".", "")
    if power < 0:
        return f"{sign}0.{'0' * (-power - 1)}{digits}"
    return sign + digits.ljust(power + 1, "0")


_PRINTED_BY: Final[dict[type, Callable[[Any], str]]] = {
    str: encode_basestring,
    dict: _object_text,
    list: _list_text,
    bool: {True: "true", False: "false"}.__getitem__,  # before int, which it is too
    int: _integer_text,
    HugeNumber: lambda number: number.literal,  # before float
    float: number_text,
    type(None): lambda _: "null",
}

_PLAIN_ENCODER: Final = json.JSONEncoder(
    ensure_ascii=False, separators=(",", ":"), check_circular=False
)


def _printed_as_base(value: object) -> str:
    """Print what is of a subclass, an enumeration's member say, as what it is a kind of."""
    for kind, printed in _PRINTED_BY.items():
        if isinstance(value, kind):
            return printed(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
