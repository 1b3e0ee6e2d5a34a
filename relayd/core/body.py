"""JSON as JavaScript reads and prints it, so that a receiver in any language verifies a body.

Receivers check the signature over the raw bytes, or over `JSON.stringify(JSON.parse(body))`. Both
succeed when a body is what JSON.stringify prints: numbers by ECMAScript's Number::toString (262,
6.1.6.1.20), strings by QuoteJSONString (25.5.2.3), keys by OrdinaryOwnPropertyKeys (10.1.11.1).
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import accumulate, islice
from json.encoder import encode_basestring
from math import isinf
from typing import Any, Final, NoReturn, Self, TypeAlias

JsonValue: TypeAlias = "dict[str, JsonValue] | list[JsonValue] | str | int | float | bool | None"

MAX_DEPTH: Final = 128
"""Objects and lists within each other. More is no event, and would exhaust a parser's stack."""

MAX_NAMED: Final = 20
"""How many unfaithful fields are named at most, so that a warning stays readable."""

_MAX_SAFE: Final = 2**53
_MAX_INDEX: Final = 2**32 - 2
_INDEX: Final = re.compile(r"0|[1-9][0-9]{0,9}")
# A string, also one that never ends. Possessive, so that its length costs neither time nor memory.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
HALF: Final = re.compile("[\ud800-\udfff]")
NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


class HugeNumber(float):
    """A number that JavaScript reads as Infinity: it is that, and prints as it was written."""

    __slots__ = ("literal",)

    def __new__(cls, literal: str) -> Self:
        """Read a number of any size; `literal` is its JSON text."""
        self = super().__new__(cls, literal)
        self.literal = literal
        return self

    literal: str


@dataclass(frozen=True, slots=True)
class Parsed:
    """A JSON text's value.

    `unfaithful` holds the dotted paths of what not every receiver can carry unchanged: integers
    past 2^53 that JavaScript would print with other digits, numbers that overflow, keys that stand
    twice in an object (the last value wins, in the first one's place), and text with half of a
    surrogate pair, which JavaScript carries and most other languages do not. The value itself has
    the path "". Names at most `MAX_NAMED`.
    """

    value: JsonValue = field(repr=False)
    unfaithful: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class JsonProblem:
    """Why a text cannot be a body, without quoting it.

    `code` is `invalid_json`, `invalid_text` (a surrogate that is not an escape), `too_deep` or
    `too_large`.
    """

    code: str
    reason: str


NOT_A_NUMBER: Final = JsonProblem(
    "invalid_json", "NaN and Infinity are not JSON; use null or a number"
)


def syntax_problem(error: json.JSONDecodeError) -> JsonProblem:
    """Return what Python's parser found, without quoting the text."""
    # The words before a colon are fixed ones; what follows it may be of the text.
    words = error.msg.partition(":")[0].removesuffix(" at")
    return JsonProblem(
        "invalid_json",
        f"it is not valid JSON: {words} (line {error.lineno}, column {error.colno})",
    )


def too_large(max_bytes: int) -> JsonProblem:
    """Return the problem of a text that takes more than `max_bytes` when printed."""
    return JsonProblem("too_large", f"it is longer than {max_bytes} bytes")


def too_deep(max_depth: int) -> JsonProblem:
    """Return the problem of a text that is nested more than `max_depth` levels deep."""
    return JsonProblem("too_deep", f"it is nested more than {max_depth} levels deep")


class Noted:
    """What a decoder found that JavaScript cannot carry unchanged.

    It knows nothing of the decoder or the text: a cycle of references would keep a text, which may
    take 16 MiB, until the garbage collector comes, and that counts objects, not bytes.
    """

    def __init__(self) -> None:
        self.unusual = False
        # The object is kept beside its keys, so that its id stays its own.
        self.duplicates: dict[int, tuple[JsonValue, list[str]]] = {}

    def note(self, value: JsonValue, keys: list[str]) -> None:
        """Note an unusual value; `keys` are those that stand twice in it, where it is an object."""
        self.unusual = True
        if keys:
            self.duplicates[id(value)] = (value, keys)


class NotJsonError(Exception):
    """NaN or Infinity, which Python's parser takes for numbers."""


class _UnusualError(Exception):
    """The text holds what not every receiver carries unchanged: parse again, and note where."""


def parse_json(
    text: str, *, max_depth: int = MAX_DEPTH, max_bytes: int | None = None
) -> Parsed | JsonProblem:
    """Read a JSON text as JSON.parse does, except that large numbers keep their digits.

    `max_bytes` bounds what the value may take when printed: a text whose brackets, commas and
    numbers alone are longer is refused before it becomes objects, which take 30 times its size.
    """
    try:
        raw = text.encode()
    except UnicodeEncodeError:
        return JsonProblem("invalid_text", "the text holds half of a surrogate pair")
    if (problem := _measure(raw, max_depth, max_bytes)) is not None:
        return problem
    noted = Noted()
    try:
        try:
            value: JsonValue = _USUAL.decode(text)
        except _UnusualError:
            value = decoder(noted.note).decode(text)
    except NotJsonError:
        return NOT_A_NUMBER
    except json.JSONDecodeError as error:
        return syntax_problem(error)
    halves = SURROGATE_ESCAPE.search(raw) is not None and not _is_unicode(value)
    if not (noted.unusual or halves):
        return Parsed(value, ())
    return Parsed(value, tuple(islice(_unfaithful(value, (), noted.duplicates), MAX_NAMED)))


def stringify(value: JsonValue) -> str:
    """Return `JSON.stringify(JSON.parse(text))` for the text that `value` was parsed from.

    Integers and numbers that JavaScript cannot carry are printed with their own digits. Half of a
    surrogate pair stays in the text as it is: `encoded` escapes it. Raises TypeError for what is
    not JSON.
    """
    printed = _PRINTED_BY.get(type(value))
    return _printed_as_base(value) if printed is None else printed(value)


def encoded(text: str) -> bytes:
    r"""Return JSON text in UTF-8, half of a surrogate pair as the escape that JavaScript prints.

    `text` is what `stringify` returned, alone or inside a larger JSON text: a surrogate can only
    stand inside a string there. Python joins the two halves of a pair when it parses, so that each
    surrogate left is alone.
    """
    # Only surrogates cannot be encoded, and this handler writes them as JavaScript does. It is C: a
    # call of Python for each half would take a second for a hostile MiB.
    return text.encode("utf-8", "backslashreplace")


def _measure(raw: bytes, max_depth: int, max_bytes: int | None) -> JsonProblem | None:
    """Find what is too deep or too large without parsing it."""
    long = max_bytes is not None and len(raw) > max_bytes
    if not long and raw.count(b"[") + raw.count(b"{") <= max_depth:
        return None
    bare = _without_strings(raw)
    if max_bytes is not None and len(bare.translate(None, b" \t\r\n")) > max_bytes:
        return too_large(max_bytes)
    brackets = bare.translate(None, NOT_BRACKETS)
    # Up to the first error, if there is one, this is the depth that the parser reaches.
    if max(accumulate(map(STEP.__getitem__, brackets)), default=0) > max_depth:
        return too_deep(max_depth)
    return None


def _without_strings(raw: bytes) -> bytes:
    """Empty the strings. `re.sub` would take 60 times the text's size where they are short."""
    bare = bytearray()
    end = 0
    for string in _STRING.finditer(raw):
        bare += raw[end : string.start()]
        bare += b'""'
        end = string.end()
    return bytes(bare + raw[end:])


def decoder(unusual: Callable[[JsonValue, list[str]], None]) -> json.JSONDecoder:
    """Return a decoder that calls `unusual` with each value that JavaScript cannot carry unchanged.

    Where that is an object, the keys that stand twice in it come too.
    """

    def read_object(pairs: list[tuple[str, JsonValue]]) -> JsonValue:
        value = dict(pairs)
        if len(value) != len(pairs):
            counts = Counter(key for key, _ in pairs)
            unusual(value, [key for key, count in counts.items() if count > 1])
        return value

    def read_integer(literal: str) -> JsonValue:
        if len(literal) <= 15:
            return int(literal)
        number = read_decimal(literal)
        if isinstance(number, HugeNumber):
            return number
        value = int(literal)  # 309 digits at most, where int() would refuse 4,301
        if not is_carried(value):
            unusual(value, [])
        return value

    def read_decimal(literal: str) -> JsonValue:
        value = float(literal)
        if isinf(value):
            value = HugeNumber(literal)
            unusual(value, [])
        return value

    def read_constant(_: str) -> NoReturn:
        raise NotJsonError

    return json.JSONDecoder(
        object_pairs_hook=read_object,
        parse_int=read_integer,
        parse_float=read_decimal,
        parse_constant=read_constant,
    )


def _refuse_unusual(_value: JsonValue, _keys: list[str]) -> None:
    raise _UnusualError


_USUAL: Final = decoder(_refuse_unusual)


def _unfaithful(
    value: JsonValue,
    path: tuple[str, ...],
    duplicates: dict[int, tuple[JsonValue, list[str]]],
) -> Iterator[str]:
    if isinstance(value, dict):
        _, keys = duplicates.get(id(value), (None, []))
        yield from (".".join((*path, shown_key(key))) for key in keys)
        for key, each in value.items():
            if HALF.search(key) is not None:
                yield ".".join((*path, shown_key(key)))
            yield from _unfaithful(each, (*path, shown_key(key)), duplicates)
    elif isinstance(value, list):
        for position, each in enumerate(value):
            yield from _unfaithful(each, (*path, str(position)), duplicates)
    elif is_unfaithful(value):
        yield ".".join(path)


def is_unfaithful(value: JsonValue) -> bool:
    """Return whether a number or a text is one that not every receiver carries unchanged."""
    if isinstance(value, str):
        return HALF.search(value) is not None
    return isinstance(value, HugeNumber) or (isinstance(value, int) and not is_carried(value))


def shown_key(key: str) -> str:
    """Return a key as a path shows it."""
    return key if len(key) <= 64 and key.isprintable() else f"{key[:64]!r}…"


def _is_unicode(value: JsonValue) -> bool:
    try:
        stringify(value).encode()
    except UnicodeEncodeError:
        return False
    return True


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
        return Decimal(_number_text(float(value))) == value
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
    return _number_text(float(number))


def _number_text(number: float) -> str:
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
    float: _number_text,
    type(None): lambda _: "null",
}


def _printed_as_base(value: object) -> str:
    """Print what is of a subclass, an enumeration's member say, as what it is a kind of."""
    for kind, printed in _PRINTED_BY.items():
        if isinstance(value, kind):
            return printed(value)
    raise TypeError(f"{type(value).__name__} is not JSON")
