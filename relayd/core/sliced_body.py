"""`parse_json` and `stringify` of `core.js_json` as generators, for texts that take long.

A text of 1 MiB can take a second of Python, during which nothing else would run. These yield after
about 0.2 ms each, so that the caller can let others run, and return what `core.js_json` returns, byte
for byte. They take about as long in all.
"""

import json
import re
from collections.abc import Iterator
from itertools import accumulate, islice
from typing import Final

from relayd.core.js_json import (
    MAX_DEPTH,
    NOT_A_NUMBER,
    NOT_BRACKETS,
    STEP,
    SURROGATE_ESCAPE,
    JsonProblem,
    NotJsonError,
    Parsed,
    syntax_problem,
    too_deep,
    too_large,
)
from relayd.core.json_text import JsonValue, in_javascript_order, is_index, stringify
from relayd.core.parts import STEPS, Parts
from relayd.core.sliced_parser import SlicedParser
from relayd.core.unfaithful import MAX_NAMED, unfaithful_paths_in_slices

_WINDOW: Final = 16_384
_INSIDE: Final = re.compile(rb'(?:[^"\\]++|\\.)*+', re.DOTALL)


def parse_in_slices(
    text: str, *, max_depth: int = MAX_DEPTH, max_bytes: int | None = None
) -> Parts[Parsed | JsonProblem]:
    """Read a JSON text as `parse_json` does. `text` holds no lone surrogates."""
    raw = text.encode()
    problem = yield from _measure(raw, max_depth, max_bytes)
    if problem is not None:
        return problem
    escaped_surrogates = yield from _has_escaped_surrogate(raw)
    del raw
    reading = SlicedParser(text)
    try:
        value = yield from reading.run()
    except NotJsonError:
        return NOT_A_NUMBER
    except json.JSONDecodeError as error:
        return syntax_problem(error)
    halves = escaped_surrogates and not (yield from _is_unicode(value))
    named: list[str] = []
    if reading.noted.unusual or halves:
        for path in unfaithful_paths_in_slices(value, reading.noted.duplicates):
            if path is None:
                yield
                continue
            named.append(path)
            if len(named) == MAX_NAMED:
                break
    return Parsed(value, tuple(named))


def stringify_in_slices(value: JsonValue) -> Parts[str]:
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
                if len(members) <= STEPS:
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
        if len(parts) >= 4 * STEPS:
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


def _measure(raw: bytes, max_depth: int, max_bytes: int | None) -> Parts[JsonProblem | None]:
    """Find what is too deep or too large without parsing it, as `parse_json` does."""
    long = max_bytes is not None and len(raw) > max_bytes
    if not long and raw.count(b"[") + raw.count(b"{") <= max_depth:
        return None
    bare = position = depth = deepest = steps = 0
    inside = False
    while position < len(raw):
        steps += 1
        if steps >= STEPS:
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


def _has_escaped_surrogate(raw: bytes) -> Parts[bool]:
    for start in range(0, len(raw), _WINDOW):
        # The escape's first four bytes tell; three of them may lie in this window.
        if SURROGATE_ESCAPE.search(raw, start, start + _WINDOW + 3) is not None:
            return True
        yield
    return False


def _in_javascript_order(members: dict[str, JsonValue]) -> Parts[dict[str, JsonValue]]:
    """Put the keys that could index an array first, ascending, as `stringify` does."""
    indices: list[int] = []
    keys = iter(members)
    while chunk := list(islice(keys, STEPS)):
        indices += [int(key) for key in chunk if is_index(key)]
        yield
    indices.sort()
    ordered: dict[str, JsonValue] = {}
    for start in range(0, len(indices), STEPS):
        for index in indices[start : start + STEPS]:
            key = str(index)
            ordered[key] = members[key]
        yield
    return ordered | members


def _is_unicode(value: JsonValue) -> Parts[bool]:
    text = yield from stringify_in_slices(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


_LAST: Final = (None, None)
