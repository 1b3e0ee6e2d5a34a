"""What a plain YAML scalar means: YAML 1.2's core schema, and no where 1.1 means something else."""

import math
import re
from dataclasses import dataclass
from typing import Final

MAX_DIGITS: Final = 100

_NUMBER_BEGINS = re.compile(r"[-+.0-9]")
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLEANS: Final = {
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}

_AS_TEXT = "put it in quotes if it is text"
_TRAPS: Final = (
    (
        re.compile(r"yes|no|on|off|y|n", re.IGNORECASE),
        "some programs read this word as true or false",
        "write true or false, or put it in quotes",
    ),
    (
        re.compile(r"[-+]?0[0-9_]+"),
        "some programs read a number that begins with 0 as octal",
        "put it in quotes, or write it without the 0",
    ),
    (
        re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"),
        "some programs read this as a number in base 60",
        "put it in quotes",
    ),
    (re.compile(r"[-+]?0b[01_]+"), "some programs read this as a binary number", _AS_TEXT),
    (
        re.compile(r"[-+]?(0x[0-9a-fA-F]*_[0-9a-fA-F_]*|[0-9]+_[0-9_]*(\.[0-9_]*)?)"),
        "some programs read this as a number",
        "write a number without _, or put it in quotes if it is text",
    ),
    (_NOT_FINITE, "an event cannot hold this number", _AS_TEXT),
)


@dataclass(frozen=True, slots=True)
class Refused:
    """Why a scalar is not read, and what would be right."""

    message: str
    hint: str


def plain_value(text: str) -> str | float | bool | Refused | None:
    """Return what text without quotes means: null, true or false, a number, or itself.

    Dates stay text. What other programs take for something else than it says is refused.
    """
    if text in _NULL:
        return None
    if text in _BOOLEANS:
        return _BOOLEANS[text]
    for trap, message, hint in _TRAPS:
        if trap.fullmatch(text):
            return Refused(message, hint)
    return _number(text) if _NUMBER_BEGINS.match(text) else text


def _number(text: str) -> str | float | Refused:
    is_int = _INT.fullmatch(text)
    if not is_int and not _FLOAT.fullmatch(text):
        return text
    if len(text) > MAX_DIGITS:
        return Refused(f"a number of more than {MAX_DIGITS} digits", _AS_TEXT)
    if is_int:
        return int(text, {"0x": 16, "0o": 8}.get(text[:2], 10))
    number = float(text)
    return number if math.isfinite(number) else Refused("the number is too large", _AS_TEXT)
