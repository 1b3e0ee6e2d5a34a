"""JSON as JavaScript reads it, and what of it not every receiver can carry unchanged.

Receivers check the signature over the raw bytes, or over `JSON.stringify(JSON.parse(body))`. Both
succeed when a body is what JSON.stringify prints: see `json_text`.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import accumulate, islice
from math import isinf
from typing import Final, NoReturn

from relayd.core.json_text import HugeNumber, JsonValue, is_carried, number_text, stringify
from relayd.core.unfaithful import MAX_NAMED, Noted, unfaithful_paths
from relayd.core.value import value

MAX_DEPTH: Final = 128
"""Objects and lists within each other. More is no event, and would exhaust a parser's stack."""

# A string, also one that never ends. Possessive, so that its length costs neither time nor memory.
_STRING: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_DIGITS_AS_0: Final = bytes.maketrans(b"123456789", b"000000000")
_LONG_INTEGER: Final = b"0" * 16
_INDEX_KEY: Final = re.compile(rb'"[0-9]+"\s*:')
SURROGATE_ESCAPE: Final = re.compile(rb"\\u[dD][89a-fA-F]")
NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))
STEP: Final = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}


@value
class Parsed:
    """A JSON text's value.

    `unfaithful` holds the dotted paths of what not every receiver can carry unchanged: integers
    past 2^53 that JavaScript would print with other digits, numbers that overflow, keys that stand
    twice in an object (the last value wins, in the first one's place), and text with half of a
    surrogate pair, which JavaScript carries and most other languages do not. The value itself has
    the path "". Names at most `MAX_NAMED`.

    `plain` says that `plain_text` prints the value as `stringify` does: most events are of that kind.
    """

    value: JsonValue = field(repr=False)
    unfaithful: tuple[str, ...]
    plain: bool = False


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


class NotJsonError(Exception):
    """NaN or Infinity, which Python's parser takes for numbers."""


class _NotPlainError(Exception):
    """The text is not plain, see `Parsed`."""


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
    if (problem := measured(raw, max_depth, max_bytes)) is not None:
        return problem
    return _parsed_plain(text, raw) or _parsed(text, raw)


def _parsed_plain(text: str, raw: bytes) -> Parsed | None:
    """Return the value of a text that is plain, and so has nothing unfaithful in it."""
    if _may_be_plain(raw):
        with suppress(_NotPlainError, NotJsonError, json.JSONDecodeError):
            return Parsed(_PLAIN.decode(text), (), plain=True)
    return None


def _parsed(text: str, raw: bytes) -> Parsed | JsonProblem:
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
    return Parsed(value, tuple(islice(unfaithful_paths(value, (), noted.duplicates), MAX_NAMED)))


def _may_be_plain(raw: bytes) -> bool:
    """Tell whether a text has no long integer, no key that could index an array, no Unicode escape.

    Digits inside of a string count too: then a plain text takes the longer way.
    """
    digits_as_0 = raw.translate(_DIGITS_AS_0)
    return not (
        _LONG_INTEGER in digits_as_0
        or b"\\u" in raw
        or (b'"0' in digits_as_0 and _INDEX_KEY.search(raw) is not None)
    )


def _plain_object(pairs: list[tuple[str, JsonValue]]) -> JsonValue:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise _NotPlainError
    return value


def _plain_decimal(literal: str) -> float:
    value = float(literal)
    if float.__repr__(value) != number_text(value) or isinf(value):
        raise _NotPlainError
    return value


def measured(raw: bytes, max_depth: int, max_bytes: int | None) -> JsonProblem | None:
    """Find what is too deep or too large without parsing it; what is not JSON may be neither."""
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

    return json.JSONDecoder(
        object_pairs_hook=read_object,
        parse_int=read_integer,
        parse_float=read_decimal,
        parse_constant=_refuse_constant,
    )


def _refuse_constant(_: str) -> NoReturn:
    raise NotJsonError


def _refuse_unusual(_value: JsonValue, _keys: list[str]) -> None:
    raise _UnusualError


_USUAL: Final = decoder(_refuse_unusual)

_PLAIN: Final = json.JSONDecoder(
    object_pairs_hook=_plain_object, parse_float=_plain_decimal, parse_constant=_refuse_constant
)


def _is_unicode(value: JsonValue) -> bool:
    try:
        stringify(value).encode()
    except UnicodeEncodeError:
        return False
    return True
