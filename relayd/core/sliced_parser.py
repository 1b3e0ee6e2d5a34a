"""Reads one JSON text in slices, as `core.js_json`'s decoders read it in one go."""

import json
import re
from collections.abc import Callable
from typing import Final

from relayd.core.js_json import NotJsonError, decoder
from relayd.core.json_text import JsonValue
from relayd.core.parts import STEPS, Parts
from relayd.core.unfaithful import Noted

# Of the standard library, and documented there in its source alone.
_scanstring: Final[Callable[[str, int], tuple[str, int]]] = json.decoder.scanstring  # type: ignore[attr-defined]  # not in typeshed

_SPACE: Final = re.compile(r"[ \t\n\r]*+")
_NUMBER: Final = re.compile(r"(-?(?:0|[1-9][0-9]*+))(\.[0-9]++)?([eE][-+]?[0-9]++)?")
_PLAIN: Final = re.compile(r'"([^"\\\x00-\x1f]{0,1024}+)"')
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


class SlicedParser:
    """Reads one text. What JavaScript cannot carry is noted as `core.js_json`'s decoder notes it."""

    def __init__(self, text: str) -> None:
        self._text = text
        self.noted = Noted()
        numbers = decoder(self.noted.note)
        self._integer = numbers.parse_int
        self._decimal = numbers.parse_float

    def run(self) -> Parts[JsonValue]:  # noqa: C901, PLR0912, PLR0915 - one loop, no calls within
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
            if tokens % STEPS == 0:
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

    def _key(self, position: int, known: dict[str, str]) -> Parts[tuple[str, int]]:
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

    def _string(self, begin: int) -> Parts[tuple[str, int]]:
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
