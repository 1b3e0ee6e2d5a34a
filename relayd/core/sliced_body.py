"""`parse_json` and `stringify` of `core.body` as generators, for texts that take long.

A text of 1 MiB can take a second of Python, during which nothing else would run. These yield after
about 0.2 ms each, so that the caller can let others run, and return what `core.body` returns, byte
for byte. They take about as long in all.
"""

import json
import re
from collections.abc import Callable, Generator, Iterator
from itertools import accumulate, islice
from typing import Final, TypeVar

from relayd.core.body import (
    HALF,
    MAX_DEPTH,
    MAX_NAMED,
    NOT_A_NUMBER,
    NOT_BRACKETS,
    STEP,
    SURROGATE_ESCAPE,
    JsonProblem,
    Noted,
    NotJsonError,
    Parsed,
    decoder,
    is_unfaithful,
    shown_key,
    syntax_problem,
    too_deep,
    too_large,
)
from relayd.core.json_text import JsonValue, in_javascript_order, is_index, stringify

T = TypeVar("T")
Sliced = Generator[None, None, T]
"""Work that yields where it may be interrupted, and returns its result."""

# Of the standard library, and documented there in its source alone.
_scanstring: Final[Callable[[str, int], tuple[str, int]]] = json.decoder.scanstring  # type: ignore[attr-defined]  # not in typeshed

_SLICE: Final = 200
"""Tokens in a slice: each takes about 1 µs."""

_WINDOW: Final = 16_384
_SPACE: Final = re.compile(r"[ \t\n\r]*+")
_NUMBER: Final = re.compile(r"(-?(?:0|[1-9][0-9]*+))(\.[0-9]++)?([eE][-+]?[0-9]++)?")
_PLAIN: Final = re.compile(r'"([^"\\\x00-\x1f]{0,1024}+)"')
_INSIDE: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)
# At most 64,000 characters of a string. A pair of surrogate escapes is never cut in half.
_PIECE: Final = re.compile(
    r'(?:[^"\\\x00-\x1f]{1,64}+'
    r"|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r'|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})){0,1000}+'
)
_LITERALS: Final[tuple[tuple[str, JsonValue], ...]] = (
    ("null", None),
    ("true", True),
    ("false", False),
)
_CONSTANTS: Final = ("NaN", "Infinity", "-Infinity")


def parse_in_slices(
    text: str, *, max_depth: int = MAX_DEPTH, max_bytes: int | None = None
) -> Sliced[Parsed | JsonProblem]:
    """Read a JSON text as `parse_json` does. `text` holds no lone surrogates."""
    raw = text.encode()
    problem = yield from _measure(raw, max_depth, max_bytes)
    if problem is not None:
        return problem
    escaped_surrogates = yield from _has_escaped_surrogate(raw)
    del raw
    reading = _Reading(text)
    try:
        value = yield from reading.run()
    except NotJsonError:
        return NOT_A_NUMBER
    except json.JSONDecodeError as error:
        return syntax_problem(error)
    halves = escaped_surrogates and not (yield from _is_unicode(value))
    named: list[str] = []
    if reading.noted.unusual or halves:
        for path in _unfaithful(value, reading.noted.duplicates):
            if path is None:
                yield
                continue
            named.append(path)
            if len(named) == MAX_NAMED:
                break
    return Parsed(value, tuple(named))


def stringify_in_slices(value: JsonValue) -> Sliced[str]:
    """Return what `stringify` returns."""
    texts: list[str] = []
    parts: list[str] = []
    add = parts.append
    open_: list[Iterator[tuple[str, JsonValue]]] = [iter([("", value)])]
    ends = [""]
    while open_:
        # What stands before a value (a key and the comma before it), and the value.
        before, value = next(open_[-1], _LAST)
        if before is None:
            open_.pop()
            add(ends.pop())
        elif isinstance(value, dict):
            add(before)
            members = value
            if any(map(str.isdecimal, members)):
                if len(members) <= _SLICE:
                    members = in_javascript_order(members)
                else:
                    members = yield from _in_javascript_order(members)
            add("{")
            open_.append(_members(members))
            ends.append("}")
        elif isinstance(value, list):
            add(before)
            add("[")
            open_.append(_elements(value))
            ends.append("]")
        else:
            add(before)
            add(stringify(value))
        if len(parts) >= 4 * _SLICE:
            texts.append("".join(parts))
            parts.clear()
            yield
    texts.extend(parts)
    return "".join(texts)


def _members(members: dict[str, JsonValue]) -> Iterator[tuple[str, JsonValue]]:
    comma = ""
    for key, value in members.items():
        yield f"{comma}{stringify(key)}:", value
        comma = ","


def _elements(values: list[JsonValue]) -> Iterator[tuple[str, JsonValue]]:
    comma = ""
    for value in values:
        yield comma, value
        comma = ","


def _measure(raw: bytes, max_depth: int, max_bytes: int | None) -> Sliced[JsonProblem | None]:
    """Find what is too deep or too large without parsing it, as `parse_json` does."""
    long = max_bytes is not None and len(raw) > max_bytes
    if not long and raw.count(b"[") + raw.count(b"{") <= max_depth:
        return None
    bare = position = depth = deepest = steps = 0
    inside = False
    while position < len(raw):
        steps += 1
        if steps >= _SLICE:
            steps = 0
            yield
        if inside:
            found = _INSIDE.match(raw, position, position + _WINDOW)
            end = position if found is None else found.end()
            if raw[end : end + 1] == b'"':
                inside = False
                end += 1
            elif end == position:
                inside = False  # It never ends: a backslash is the last byte.
            steps += (end - position) // 1024
            position = end
            continue
        end = raw.find(b'"', position, position + _WINDOW)
        outside = raw[position : position + _WINDOW if end < 0 else end]
        position += len(outside)
        bare += len(outside.translate(None, b" \t\r\n"))
        if brackets := outside.translate(None, NOT_BRACKETS):
            steps += len(brackets) // 16
            levels = list(accumulate(map(STEP.__getitem__, brackets), initial=depth))
            deepest, depth = max(deepest, *levels), levels[-1]
        if end >= 0:
            inside = True
            position += 1
            bare += 2
        if max_bytes is not None and bare > max_bytes:
            return too_large(max_bytes)
    return too_deep(max_depth) if deepest > max_depth else None


def _has_escaped_surrogate(raw: bytes) -> Sliced[bool]:
    for start in range(0, len(raw), _WINDOW):
        # The escape's first four bytes tell; three of them may lie in this window.
        if SURROGATE_ESCAPE.search(raw, start, start + _WINDOW + 3) is not None:
            return True
        yield
    return False


class _Reading:
    """Reads one text. What JavaScript cannot carry is noted as `core.body`'s decoder notes it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.noted = Noted()
        numbers = decoder(self.noted.note)
        self._integer = numbers.parse_int
        self._decimal = numbers.parse_float

    def run(self) -> Sliced[JsonValue]:  # noqa: C901, PLR0912, PLR0915 - one loop, no calls within
        """Return the value. Raises JSONDecodeError and `NotJsonError`."""
        text = self._text
        known: dict[str, str] = {}
        open_: list[tuple[dict[str, JsonValue] | list[JsonValue] | None, str, set[str] | None]]
        open_ = []
        within: dict[str, JsonValue] | list[JsonValue] | None = None
        key = ""
        repeated: set[str] | None = None
        value: JsonValue
        tokens = 0
        position = _after(text, 0)
        while True:
            tokens += 1
            if tokens % _SLICE == 0:
                yield
            # ---- a value begins at `position`
            char = text[position : position + 1]
            if char == '"':
                plain = _PLAIN.match(text, position)
                if plain is None:
                    value, position = yield from self._string(position)
                else:
                    value, position = plain[1], plain.end()
            elif char in {"{", "["}:
                inner = _after(text, position + 1)
                if text[inner : inner + 1] == ("}" if char == "{" else "]"):
                    value = {} if char == "{" else []
                    position = inner + 1
                else:
                    open_.append((within, key, repeated))
                    position, repeated = inner, None
                    if char == "[":
                        within = []
                        continue
                    within = {}
                    key, position = yield from self._key(position, known)
                    continue
            else:
                number = _NUMBER.match(text, position)
                if number is not None and not text.startswith("-Infinity", position):
                    whole, fraction, exponent = number.groups()
                    if fraction is None and exponent is None:
                        value = self._integer(whole)
                    else:
                        value = self._decimal(number[0])
                    position = number.end()
                else:
                    value, position = self._word(position)
            # ---- it ended at `position`
            while True:
                if within is None:
                    end = _after(text, position)
                    if end != len(text):
                        raise json.JSONDecodeError("Extra data", text, end)
                    return value
                position = _after(text, position)
                char = text[position : position + 1]
                if isinstance(within, list):
                    within.append(value)
                    if char == ",":
                        position = _after(text, position + 1)
                        break
                    if char != "]":
                        raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
                else:
                    if key in within:
                        repeated = repeated or set()
                        repeated.add(key)
                    within[key] = value
                    if char == ",":
                        position = _after(text, position + 1)
                        key, position = yield from self._key(position, known)
                        break
                    if char != "}":
                        raise json.JSONDecodeError("Expecting ',' delimiter", text, position)
                    if repeated is not None:
                        self.noted.note(within, [each for each in within if each in repeated])
                position += 1
                value = within
                within, key, repeated = open_.pop()

    def _key(self, position: int, known: dict[str, str]) -> Sliced[tuple[str, int]]:
        """Read a key and its colon; return it, and where its value begins."""
        text = self._text
        plain = _PLAIN.match(text, position)
        if plain is not None:
            key, position = plain[1], plain.end()
        elif text[position : position + 1] != '"':
            raise json.JSONDecodeError(
                "Expecting property name enclosed in double quotes", text, position
            )
        else:
            key, position = yield from self._string(position)
        position = _after(text, position)
        if text[position : position + 1] != ":":
            raise json.JSONDecodeError("Expecting ':' delimiter", text, position)
        return known.setdefault(key, key), _after(text, position + 1)

    def _string(self, begin: int) -> Sliced[tuple[str, int]]:
        """Read a string that is long, has escapes (then piece by piece) or is wrong."""
        text = self._text
        end = text.find('"', begin + 1)
        if end > 0 and text.find("\\", begin + 1, end) < 0:
            return _scanstring(text, begin + 1)  # About 2 ms for each MiB.
        pieces: list[str] = []
        piece = position = begin + 1
        while True:
            found = _PIECE.match(text, position)
            end = position if found is None else found.end()
            if text[end : end + 1] == '"' or end > position:
                pieces.append(_scanstring(f'{text[position:end]}"', 0)[0])
                if text[end : end + 1] == '"':
                    return "".join(pieces), end + 1
                piece, position = position, end
                yield
                continue
            try:
                _scanstring(text, piece)
            except json.JSONDecodeError as error:
                if error.msg.startswith("Unterminated"):
                    raise json.JSONDecodeError(error.msg, text, begin) from None
                raise
            raise AssertionError("a string is wrong where its pieces end")

    def _word(self, position: int) -> tuple[JsonValue, int]:
        for word, value in _LITERALS:
            if self._text.startswith(word, position):
                return value, position + len(word)
        if self._text.startswith(_CONSTANTS, position):
            raise NotJsonError
        raise json.JSONDecodeError("Expecting value", self._text, position)


def _after(text: str, position: int) -> int:
    """Return where the white space at a position ends."""
    if text[position : position + 1] > " ":
        return position
    found = _SPACE.match(text, position)
    return position if found is None else found.end()


def _in_javascript_order(members: dict[str, JsonValue]) -> Sliced[dict[str, JsonValue]]:
    """Put the keys that could index an array first, ascending, as `stringify` does."""
    indices: list[int] = []
    keys = iter(members)
    while chunk := list(islice(keys, _SLICE)):
        indices += [int(key) for key in chunk if is_index(key)]
        yield
    indices.sort()
    ordered: dict[str, JsonValue] = {}
    for start in range(0, len(indices), _SLICE):
        for index in indices[start : start + _SLICE]:
            key = str(index)
            ordered[key] = members[key]
        yield
    return ordered | members


def _is_unicode(value: JsonValue) -> Sliced[bool]:
    text = yield from stringify_in_slices(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unfaithful(
    value: JsonValue, duplicates: dict[int, tuple[JsonValue, list[str]]]
) -> Iterator[str | None]:
    """Yield the paths that `parse_json` names, in its order, and None now and then."""
    # The part of the path that leads to each value, the value, and whether its key holds half a pair.
    open_: list[Iterator[tuple[str, JsonValue, bool]]] = [iter([("", value, False)])]
    path: list[str] = []
    seen = 0
    while open_:
        part, value, half = next(open_[-1], _NO_MORE)
        if part is None:
            open_.pop()
            if path:
                path.pop()
            continue
        seen += 1
        if seen % _SLICE == 0:
            yield None
        path.append(part)
        if half:
            yield ".".join(path[1:])
        if isinstance(value, dict):
            _, keys = duplicates.get(id(value), (None, []))
            yield from (".".join((*path[1:], shown_key(key))) for key in keys)
            open_.append(
                (shown_key(key), each, HALF.search(key) is not None) for key, each in value.items()
            )
            continue
        if isinstance(value, list):
            open_.append((str(number), each, False) for number, each in enumerate(value))
            continue
        if is_unfaithful(value):
            yield ".".join(path[1:])
        path.pop()


_LAST: Final = (None, None)
_NO_MORE: Final = (None, None, False)
