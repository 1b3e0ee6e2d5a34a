"""Bodies against JavaScript: kept vectors, and Node itself where it is installed."""

import copy
import json
import math
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from relayd.core import js_json
from relayd.core.js_json import MAX_DEPTH, JsonProblem, Parsed, parse_json
from relayd.core.json_text import HugeNumber, JsonValue, encoded, plain_text, stringify
from relayd.core.unfaithful import MAX_NAMED

VECTORS: dict[str, Any] = json.loads(
    Path(__file__).with_name("javascript_vectors.json").read_text(encoding="utf-8")
)


def parsed(text: str) -> Parsed:
    found = parse_json(text)
    assert isinstance(found, Parsed), found
    return found


def as_doubles(value: Any) -> Any:
    """Read all numbers as JavaScript does: 72057594037922580 and 7.205759403792258e+16 are one."""
    if isinstance(value, dict):
        return {key: as_doubles(each) for key, each in value.items()}
    if isinstance(value, list):
        return [as_doubles(each) for each in value]
    if isinstance(value, int) and not isinstance(value, bool):
        return float(str(value))
    return value


def problem(text: str) -> JsonProblem:
    found = parse_json(text)
    assert isinstance(found, JsonProblem), found
    return found


def test_numbers_are_printed_as_javascript_prints_them() -> None:
    numbers = VECTORS["numbers"]
    assert len(numbers) > 3000
    wrong = [
        (literal, printed, stringify(parsed(literal).value))
        for literal, printed in numbers
        if stringify(parsed(literal).value) != printed
    ]
    assert wrong == []


def test_ordinary_numbers_are_not_called_unfaithful() -> None:
    assert [literal for literal, _ in VECTORS["numbers"] if parsed(literal).unfaithful] == []


@pytest.mark.parametrize(("text", "printed"), VECTORS["documents"])
def test_documents_are_printed_as_javascript_prints_them(text: str, printed: str) -> None:
    found = parsed(text)
    assert stringify(found.value) == printed
    assert found.unfaithful == ()


@pytest.mark.parametrize(("text", "printed"), VECTORS["duplicates"])
def test_of_duplicate_keys_the_last_value_wins_in_the_first_place(text: str, printed: str) -> None:
    found = parsed(text)
    assert stringify(found.value) == printed
    assert found.unfaithful != ()


def test_every_character_is_escaped_just_where_javascript_escapes_it() -> None:
    escapes = {int(unit): text for unit, text in VECTORS["escapes"].items()}
    assert 0x7F not in escapes
    assert 0x2028 not in escapes
    for unit in (*range(0xD800), *range(0xE000, 0x10000), 0x1F345, 0x10FFFF):
        character = chr(unit)
        assert stringify(character) == escapes.get(unit, f'"{character}"')


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("9007199254740993", "9007199254740993"),
        ("-9007199254740993", "-9007199254740993"),
        # A double holds it, but JavaScript prints 1152921504606847000.
        ("1152921504606846976", "1152921504606846976"),
        ("1000000000000000000001", "1000000000000000000001"),
        ("9" * 309, "9" * 309),
        ("9" * 5000, "9" * 5000),
        ("1e400", "1e400"),
        ("-1.5E+999", "-1.5E+999"),
    ],
)
def test_what_javascript_cannot_carry_keeps_its_digits_and_is_named(
    text: str, printed: str
) -> None:
    found = parsed(f'{{"a":[0,{{"b":{text}}}]}}')
    assert stringify(found.value) == f'{{"a":[0,{{"b":{printed}}}]}}'
    assert found.unfaithful == ("a.1.b",)


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("1000000000000000000000", "1e+21"),
        ("-1000000000000000000000", "-1e+21"),
        ("1230000000000000000000000", "1.23e+24"),
        ("100000000000000000000", "100000000000000000000"),
    ],
)
def test_a_large_integer_whose_value_javascript_carries_is_printed_its_way(
    text: str, printed: str
) -> None:
    found = parsed(text)
    assert stringify(found.value) == printed
    assert found.unfaithful == ()
    assert as_doubles(parsed(printed).value) == as_doubles(found.value)


def test_duplicate_keys_are_named_where_they_stand() -> None:
    text = '{"a":1,"a":2,"list":[{"b":{"c":1,"d":1,"c":2,"c":3}}],"n":9007199254740993}'
    assert parsed(text).unfaithful == ("a", "list.0.b.c", "n")


def test_what_a_duplicate_key_dropped_is_not_named() -> None:
    assert parsed('{"a":{"x":1e999},"a":{"y":1}}').unfaithful == ("a",)


def test_named_fields_are_bounded_and_escaped() -> None:
    many = parsed("[" + ",".join(["1e999"] * 1000) + "]").unfaithful
    assert many == tuple(str(position) for position in range(MAX_NAMED))
    [path] = parsed('{"\\u001b[31m\\n":1e999}').unfaithful
    assert path.isprintable()
    [path] = parsed(f'{{"{"k" * 5000}":1e999}}').unfaithful
    assert len(path) < 100


def test_a_huge_number_is_infinite_and_survives_a_copy() -> None:
    value = parsed("-1e400").value
    assert isinstance(value, HugeNumber)
    assert value == -math.inf
    assert stringify(copy.deepcopy(value)) == "-1e400"
    assert "400" not in repr(value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "{",
        '{"a":1}x',
        "{'a':1}",
        "[1,]",
        '{"a":1,}',
        "01",
        "+1",
        "1.",
        ".5",
        "1e",
        "--1",
        "0x10",
        "1_000",
        "undefined",
        "nul",
        '"a',
        '"\t"',
        '"\n"',
        '"\x00"',
        '"\\x41"',
        '"\\u12"',
        '"\\u 123"',
        "\ufeff{}",
        "\u00a0{}",
        "{}\x00",
        "NaN",
        "[Infinity]",
        "-Infinity",
        "٣",
        "[1٣]",
    ],
)
def test_what_is_not_json_is_a_problem(text: str) -> None:
    assert problem(text).code == "invalid_json"


def test_a_problem_says_where_and_quotes_nothing() -> None:
    found = problem('{\n  "card": "4111 1111 1111 1111", \\q')
    assert "line 2, column 34" in found.reason
    assert "4111" not in found.reason
    for text in ('["secret\\q"]', '["secret', "secret", '{"secret":secret}', '["\\uSECR"]'):
        assert "secret" not in problem(text).reason.lower()
    assert "secret" not in repr(parsed('["secret"]'))


HALVES = [
    ('"\\ud800"', '"\\ud800"', ("",)),
    ('{"\\uDC00":1}', '{"\\udc00":1}', ("'\\udc00'…",)),
    ('["\\ude00\\ud83d"]', '["\\ude00\\ud83d"]', ("0",)),
    ('"\\ud83d\\u0041"', '"\\ud83dA"', ("",)),
    ('"\\ud83d😀"', '"\\ud83d😀"', ("",)),
    ('"\\ud83d\\ud83d\\ude00"', '"\\ud83d😀"', ("",)),
    ('"\\ud83d\\ude00\\ude00"', '"😀\\ude00"', ("",)),
    ('{"a":{"b":["x","caf\\u00e9 \\uD83E"]}}', '{"a":{"b":["x","café \\ud83e"]}}', ("a.b.1",)),
    ('{"\\ud83e":"\\udd14","1":0}', '{"1":0,"\\ud83e":"\\udd14"}', ("'\\ud83e'…", "'\\ud83e'…")),
]


@pytest.mark.parametrize(("text", "expected", "names"), HALVES)
def test_half_of_a_surrogate_pair_is_kept_as_an_escape_and_named(
    text: str, expected: str, names: tuple[str, ...]
) -> None:
    found = parsed(text)
    assert encoded(stringify(found.value)) == expected.encode()
    assert found.unfaithful == names
    assert parsed(expected).value == found.value


@pytest.mark.parametrize(("text", "expected", "names"), HALVES)
def test_node_prints_the_same_half(
    javascript: Callable[[str], str | None], text: str, expected: str, names: tuple[str, ...]
) -> None:
    assert javascript(text) == expected
    assert names


def test_a_surrogate_that_is_no_escape_is_refused() -> None:
    assert problem('"\ud800"').code == "invalid_text"


def test_an_escaped_backslash_makes_no_surrogate() -> None:
    assert parsed('"\\\\ud800"').value == "\\ud800"


@pytest.mark.parametrize(
    ("opening", "closing"), [("[", "]"), ('{"a":', "}"), ('[{"a":', "}]"), ('{"]":[', "]}")]
)
def test_the_depth_is_bounded_exactly(opening: str, closing: str) -> None:
    levels = opening.count("[") + opening.count("{")
    count = MAX_DEPTH // levels
    deepest = opening * count + "0" + closing * count
    assert stringify(parsed(deepest).value) == deepest
    assert problem(f"[{deepest}]").code == "too_deep"
    assert isinstance(parse_json(deepest, max_depth=MAX_DEPTH - 1), JsonProblem)


@pytest.mark.parametrize(
    "text",
    [
        "[" * 1_000_000,
        '{"a":' * 200_000,
        "[" * 1_000_000 + "]" * 1_000_000,
        '["\\"[",' * 100_000,
    ],
)
def test_any_depth_is_found_without_recursion(text: str) -> None:
    assert problem(text).code == "too_deep"


def test_many_brackets_are_not_depth() -> None:
    assert parsed("[" + ",".join(["[{}]"] * 1000) + "]").unfaithful == ()
    assert parsed('["' + "[" * 1000 + '\\"' + "{" * 1000 + '"]').unfaithful == ()


def test_strings_that_never_end_are_read_in_linear_time() -> None:
    for text in ('"' + "[\\" * 500_000, '"' + "\\" * 1_000_001, '"' + "[" * 1_000_000):
        assert problem(text).code == "invalid_json"


def test_a_text_that_must_print_too_long_is_refused_unparsed() -> None:
    assert isinstance(parse_json("[" + "{},\n" * 98 + "{}]", max_bytes=300), Parsed)
    found = parse_json("[" + "{},\n" * 100 + "{}]", max_bytes=300)
    assert isinstance(found, JsonProblem)
    assert found.code == "too_large"
    # Strings shrink when their escapes are printed, and spaces go: these two may yet fit.
    assert isinstance(parse_json('"' + "\\u0041" * 300 + '"', max_bytes=302), Parsed)
    assert isinstance(parse_json("[" + " " * 300 + "]", max_bytes=2), Parsed)


def test_subclasses_print_as_their_base_and_other_types_are_refused() -> None:
    class Colour(StrEnum):
        RED = "red"

    assert stringify(Colour.RED) == '"red"'
    assert stringify({"b": True, "n": None, "f": float("nan")}) == '{"b":true,"n":null,"f":null}'
    with pytest.raises(TypeError, match="bytes is not JSON"):
        stringify([b""])  # type: ignore[list-item]  # on purpose


texts = st.text(st.characters(codec="utf-8"), max_size=12)
doubles = st.integers(0, 2**64 - 1).map(
    lambda bits: float(struct.unpack("<d", struct.pack("<Q", bits))[0])
)
finite = (st.floats(allow_nan=False, allow_infinity=False) | doubles).filter(math.isfinite)
number_literals = st.one_of(
    finite.map(repr),
    finite.map("{:.20E}".format),
    st.floats(1e-10, 1e25).map("{:.10f}".format),
    st.integers(-(2**53), 2**53).map(str),
    st.integers().map(str),
    st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,3})?", fullmatch=True),
)
keys = texts | st.integers(0, 2**33).map(str) | st.from_regex(r"[0-9]{1,11}", fullmatch=True)
spaces = st.sampled_from(["", "", " ", "\n\t", "\r"])
string_literals = st.builds(
    lambda text, ascii_only: json.dumps(text, ensure_ascii=ascii_only), texts, st.booleans()
)
key_literals = st.builds(
    lambda text, ascii_only: json.dumps(text, ensure_ascii=ascii_only), keys, st.booleans()
)


def _list(items: list[str], space: str) -> str:
    return f"[{space}" + f"{space},".join(items) + f"{space}]"


def _object(items: list[tuple[str, str]], space: str) -> str:
    members = [f"{key}{space}:{value}" for key, value in items]
    return "{" + f",{space}".join(members) + f"{space}}}"


documents = st.recursive(
    st.sampled_from(["null", "true", "false"]) | number_literals | string_literals,
    lambda inner: (
        st.builds(_list, st.lists(inner, max_size=6), spaces)
        | st.builds(_object, st.lists(st.tuples(key_literals, inner), max_size=6), spaces)
    ),
    max_leaves=25,
)


@given(documents)
def test_what_is_printed_is_a_fixed_point(text: str) -> None:
    first = parsed(text)
    printed = stringify(first.value)
    again = parsed(printed)
    assert stringify(again.value) == printed
    assert as_doubles(again.value) == as_doubles(first.value)


@given(documents)
def test_what_is_plain_is_printed_as_all_else_is(text: str) -> None:
    found = parsed(text)
    if found.plain:
        slow = js_json._parsed(text, text.encode())
        assert isinstance(slow, Parsed)
        assert (as_doubles(slow.value), slow.unfaithful) == (as_doubles(found.value), ())
        assert plain_text(found.value) == stringify(slow.value) == stringify(found.value)


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ('{"id": "order_1", "total": 4250, "price": 12.5, "paid": true, "note": null}', True),
        ('["2026-11-26", "12 é \U0001f600", -7, 123456789012345]', True),
        ("[12.0]", False),
        ("[1e3]", False),
        ("[1e400]", False),
        ("[1234567890123456]", False),
        ('{"1": 2}', False),
        ('{"1" : 2}', False),
        ('{"a": 1, "a": 1}', False),
        (r'{"\u0031": 2}', False),
        (r'["\ud800"]', False),
    ],
)
def test_most_documents_are_plain(text: str, plain: bool) -> None:
    assert parsed(text).plain is plain


def test_all_numbers_that_are_printed_alike_are_plain() -> None:
    for literal, printed in VECTORS["numbers"]:
        if parsed(literal).plain:
            assert plain_text(parsed(literal).value) == printed


@given(documents)
def test_python_reads_the_same_value_from_what_is_printed(text: str) -> None:
    assert as_doubles(json.loads(stringify(parsed(text).value))) == as_doubles(json.loads(text))


@given(st.text(max_size=60) | st.text('[]{}:,"\\u0d8 1e-.+nulltrefas\n', max_size=60))
def test_any_text_is_parsed_or_a_problem(text: str) -> None:
    found = parse_json(text)
    if isinstance(found, Parsed):
        assert isinstance(parse_json(stringify(found.value)), Parsed)
    else:
        assert found.reason


NODE = shutil.which("node")
_ECHO = """
require("readline").createInterface({input: process.stdin}).on("line", (line) => {
  let answer = null;
  try { answer = JSON.stringify(JSON.parse(JSON.parse(line))); } catch {}
  process.stdout.write(JSON.stringify(answer) + "\\n");
});
"""


@pytest.fixture(scope="module")
def javascript() -> Iterator[Callable[[str], str | None]]:
    """What Node prints for a text, or None where it is no JSON to it: one process for all texts."""
    if NODE is None:
        pytest.skip("node is not installed")
    with subprocess.Popen(
        [NODE, "-e", _ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="ascii"
    ) as process:
        stdin, stdout = process.stdin, process.stdout
        assert stdin is not None
        assert stdout is not None

        def ask(text: str) -> str | None:
            stdin.write(json.dumps(text) + "\n")
            stdin.flush()
            answer: str | None = json.loads(stdout.readline())
            return answer

        # Node prints characters beyond ASCII as they are; this keeps the pipe's encoding out of it.
        stdout.reconfigure(encoding="utf-8")  # type: ignore[attr-defined]  # a TextIOWrapper
        yield ask


@settings(max_examples=400, deadline=None)
@given(text=documents)
def test_node_prints_the_same(javascript: Callable[[str], str | None], text: str) -> None:
    found = parsed(text)
    expected = javascript(text)
    assert expected is not None
    printed = encoded(stringify(found.value)).decode()
    if found.unfaithful == ():
        assert printed == expected
    # What is kept against JavaScript is kept for its value's sake alone: the rest is the same.
    assert javascript(printed) == expected


cut_texts = st.lists(
    st.sampled_from(
        ["\\ud83e", "\\uD83D", "\\udd14", "\\uDE00", "\\\\", "😀", "é", "x", "\\u0041"]
    ),
    max_size=8,
).map(lambda parts: f'"{"".join(parts)}"')
cut_documents = st.recursive(
    cut_texts,
    lambda inner: (
        st.lists(inner, max_size=4).map(lambda each: f"[{','.join(each)}]")
        | st.lists(st.tuples(cut_texts, inner), max_size=4).map(
            lambda pairs: "{" + ",".join(f"{key}:{value}" for key, value in pairs) + "}"
        )
    ),
    max_leaves=12,
)


@settings(max_examples=400, deadline=None)
@given(text=cut_documents)
def test_node_prints_the_same_for_cut_strings(
    javascript: Callable[[str], str | None], text: str
) -> None:
    body = encoded(stringify(parsed(text).value))
    assert body.decode() == javascript(text)
    assert body.decode() == javascript(body.decode())


def test_no_python_runs_for_each_half_of_a_pair() -> None:
    calls: list[str] = []
    sys.setprofile(lambda frame, _, __: calls.append(frame.f_code.co_name))
    try:
        body = encoded('{"x":"' + "\ud83d" * 1000 + '"}')
    finally:
        sys.setprofile(None)
    assert body == b'{"x":"' + rb"\ud83d" * 1000 + b'"}'
    assert len(calls) < 20, "a hostile MiB would hold up all else for a second"


@settings(max_examples=300, deadline=None)
@given(text=st.text('[]{}:,"\\u0d8 1e-.+nulltrefas\n', max_size=30) | st.text(max_size=10))
def test_node_refuses_the_same(javascript: Callable[[str], str | None], text: str) -> None:
    found = parse_json(text)
    if isinstance(found, Parsed):
        assert javascript(text) is not None
    elif found.code == "invalid_json":
        assert javascript(text) is None


def test_large_documents_are_printed_whole() -> None:
    value: JsonValue = [{"id": str(number), "price": number / 4} for number in range(20_000)]
    text = stringify(value)
    assert parsed(text).value == value
    assert sys.getrecursionlimit() < 20_000
