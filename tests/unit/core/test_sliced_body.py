"""Large texts read and printed in slices give what `core.js_json` gives, and no slice is long."""

import gc
import json
import tracemalloc
from typing import TypeVar

import pytest
from events import DEFAULTS
from hypothesis import example, given
from hypothesis import strategies as st

from relayd.core.event import MAX_BODY_BYTES, Event
from relayd.core.event_input import event_from_line, event_from_line_in_slices
from relayd.core.js_json import JsonProblem, Parsed, parse_json
from relayd.core.json_text import stringify
from relayd.core.parts import Parts
from relayd.core.sliced_body import parse_in_slices, stringify_in_slices

T = TypeVar("T")

# What texts are put together from: right and wrong in each of the ways that a parser knows.
TOKENS = [
    "{", "}", "[", "]", ",", ":", " ", "\n", '"', "\\", "-", "1", "01", "1.", "1.5", "1e400", "-0",
    "9007199254740993", "null", "tru", "true", "false", "NaN", "Infinity", "-Infinity", '"a"',
    '"1"', '"10"', '"\\u0031"', '"\\ud83d\\ude00"', '"\\ud83d"', '"\\\\ud83d"', '"\\n"', '"\\x"',
    '"\\u12"', '"\t"', '"é😀"', '{"a":1,"a":2}', '{"2":1,"b":2,"1":3}', "[1,2]", '{"a":', "[[",
]  # fmt: skip


def finished(work: Parts[T]) -> tuple[T, int]:
    """Return what the work returns, and in how many slices."""
    slices = 1
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result, slices
        slices += 1


def check(text: str, max_depth: int, max_bytes: int | None) -> None:
    whole = parse_json(text, max_depth=max_depth, max_bytes=max_bytes)
    sliced, _ = finished(parse_in_slices(text, max_depth=max_depth, max_bytes=max_bytes))
    if isinstance(whole, JsonProblem) or isinstance(sliced, JsonProblem):
        assert sliced == whole
        return
    assert repr(sliced.value) == repr(whole.value), "in the same order, of the same types"
    assert sliced.unfaithful == whole.unfaithful
    assert finished(stringify_in_slices(sliced.value))[0] == stringify(whole.value)


@given(st.lists(st.sampled_from(TOKENS), max_size=14).map("".join), st.sampled_from([3, 128]))
@example('"\\ud83d\\ude01', 128)
@example('{"a":"\\ud83d","a":1}', 128)
def test_any_text_is_read_as_in_one_piece(text: str, max_depth: int) -> None:
    check(text, max_depth, None)
    check(text, max_depth, 20)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
        lambda inner: (
            st.lists(inner, max_size=5)
            | st.dictionaries(st.text(max_size=3) | st.sampled_from(["0", "1", "10", "07"]), inner)
        ),
    ),
    st.booleans(),
)
def test_any_value_is_read_and_printed_as_in_one_piece(value: object, ascii_only: bool) -> None:
    check(json.dumps(value, ensure_ascii=ascii_only), 128, None)


HOSTILE = {
    "objects": "[" + '{"1":1},' * 100_000 + "1]",
    "lists": "[" + "[]," * 300_000 + "1]",
    "duplicates": "[" + '{"a":1,"a":9007199254740993},' * 30_000 + "1]",
    "keys": "{" + ",".join(f'"{(number * 7919) % 100_003}":1' for number in range(90_000)) + "}",
    "escapes": '["' + "\\n\\ud83d\\ude00" * 70_000 + '"]',
    "brackets": "[" * 900_000,
    "quotes": '"\\"' * 300_000,
    "a string": '"' + "x" * 3_000_000 + '"',
}


@pytest.mark.parametrize("shape", HOSTILE)
def test_hostile_shapes_take_many_slices_and_give_the_same(shape: str) -> None:
    text = HOSTILE[shape]
    whole = parse_json(text, max_bytes=MAX_BODY_BYTES)
    sliced, slices = finished(parse_in_slices(text, max_bytes=MAX_BODY_BYTES))
    assert slices >= 40
    if isinstance(whole, Parsed):
        assert isinstance(sliced, Parsed)
        assert sliced.unfaithful == whole.unfaithful
        assert finished(stringify_in_slices(sliced.value))[0] == stringify(whole.value)
    else:
        assert sliced == whole


@pytest.mark.parametrize(
    "line",
    [
        b'{"type":"a.b","data":{"x":1},"id":"evt_1","market_id":"m2"}',
        b'{"type":"a.b","data":{"2":1,"1":9007199254740993}}',
        b'{"type":"a.b"}',
        b'{"type":"A","data":{},"x":1}',
        b'{"type":"A","data":[]}',
        b"[1]",
        b"\xff",
        b'{"type":"a.b","data":{"x":"%s"}}' % (b"y" * MAX_BODY_BYTES),
        b" " * (4 * MAX_BODY_BYTES + 1),
    ],
    ids=range(9),
)
def test_an_event_is_read_as_in_one_piece(line: bytes) -> None:
    whole = event_from_line(line, DEFAULTS, new_id="evt_new", now=1)
    sliced, _ = finished(event_from_line_in_slices(line, DEFAULTS, new_id="evt_new", now=1))
    assert sliced == whole


@pytest.mark.parametrize("number", ["1", "1e400"])
def test_what_was_read_is_freed_without_the_garbage_collector(number: str) -> None:
    line = (
        f'{{"type":"a.b","data":{{"x":"{"x" * 600_000}","y":[{f"{number}," * 10_000}1]}}}}'.encode()
    )
    gc.disable()
    tracemalloc.start()
    try:
        event, _ = finished(event_from_line_in_slices(line, DEFAULTS, new_id="evt_1", now=1))
        assert isinstance(event, Event)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        gc.enable()
    # The body, the long string, and 150 bytes for each number.
    assert held < len(event.body) + 600_000 + 10_000 * 150
