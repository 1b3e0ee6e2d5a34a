"""YAML's syntax and its traps: what is read, what is refused, and where."""

import sys
import time

import pytest
import yaml

from relayd.config import yaml_text
from relayd.config.yaml_nodes import Fault, Place, YamlError
from relayd.config.yaml_text import MAX_BYTES, MAX_NODES, parse_yaml


@pytest.fixture(params=["libyaml", "python"], autouse=True)
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Both of PyYAML's parsers, since a build of it may lack the faster one."""
    if request.param == "python":
        monkeypatch.setattr(yaml_text, "_LOADER", yaml.SafeLoader)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("this PyYAML has no libyaml")
    return str(request.param)


def data(text: str) -> object:
    document = parse_yaml(text.encode())
    assert document.faults == ()
    return document.root.data


def fatal(raw: bytes) -> Fault:
    with pytest.raises(YamlError) as caught:
        parse_yaml(raw)
    return caught.value.faults[-1]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("null", None),
        ("~", None),
        ("12", 12),
        ("-3", -3),
        ("0", 0),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("2024-01-01", "2024-01-01"),
        ("2024-01-01T10:00:00Z", "2024-01-01T10:00:00Z"),
        ("10s", "10s"),
        ("100/min", "100/min"),
        ("order.*", "order.*"),
        ("::1/128", "::1/128"),
        ("127.0.0.0/8", "127.0.0.0/8"),
        ("a1_b", "a1_b"),
        ("'no'", "no"),
        ('"012"', "012"),
        ("! 12", "12"),
        ("|\n  two\n  lines", "two\nlines"),
    ],
)
def test_scalars_are_read_as_yaml_1_2(text: str, value: object) -> None:
    read = data(f"key: {text}\n")
    assert isinstance(read, dict)
    assert read["key"] == value or (value == "two\nlines" and read["key"].startswith("two\nlines"))
    assert type(read["key"]) is type(value)


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [
        ("no", "true or false", "write true or false, or put it in quotes"),
        ("Yes", "true or false", "write true or false, or put it in quotes"),
        ("on", "true or false", "write true or false, or put it in quotes"),
        ("OFF", "true or false", "write true or false, or put it in quotes"),
        ("y", "true or false", "write true or false, or put it in quotes"),
        ("012", "octal", "put it in quotes, or write it without the 0"),
        ("0660", "octal", "put it in quotes, or write it without the 0"),
        ("08", "octal", "put it in quotes, or write it without the 0"),
        ("1:30", "base 60", "put it in quotes"),
        ("190:20:30.15", "base 60", "put it in quotes"),
        ("0b101", "binary", "put it in quotes if it is text"),
        ("1_000", "as a number", "write a number without _, or put it in quotes if it is text"),
        ("0x_ff", "as a number", "write a number without _, or put it in quotes if it is text"),
        (".inf", "cannot hold", "put it in quotes if it is text"),
        (".nan", "cannot hold", "put it in quotes if it is text"),
        ("1e999", "too large", "put it in quotes if it is text"),
        ("9" * 5000, "more than 100 digits", "put it in quotes if it is text"),
        ("!!python/object/apply:os.system [id]", "tags", "put text that begins with ! in quotes"),
        ("!vault x", "tags", "put text that begins with ! in quotes"),
        ("!!str 12", "tags", "put text that begins with ! in quotes"),
    ],
)
def test_traps_are_refused_where_they_stand(text: str, said: str, hint: str) -> None:
    document = parse_yaml(f"a:\n  - key: {text}\n".encode())
    (fault,) = document.faults
    assert fault.place == Place(2, 10)
    assert fault.path == ("a", 0, "key")
    assert said in fault.message
    assert fault.hint == hint


def test_keys_are_text_whatever_they_look_like() -> None:
    assert data("on: 1\n123: 2\nnull: 3\ntrue: 4\n012: 5\n") == {
        "on": 1,
        "123": 2,
        "null": 3,
        "true": 4,
        "012": 5,
    }


def test_a_key_that_stands_twice_is_told_with_both_places() -> None:
    (fault,) = parse_yaml(b"a:\n  b: 1\n  c: 2\n  b: 3\n").faults
    assert fault.place == Place(4, 3)
    assert fault.path == ("a", "b")
    assert fault.message == "duplicate key, first defined at line 2, column 3"


def test_merge_keys_are_refused_and_quoted_ones_are_keys() -> None:
    (fault,) = parse_yaml(b"a: &a {x: 1}\nb:\n  <<: *a\n").faults
    assert fault.place == Place(3, 3)
    assert fault.path == ("b",)
    assert "`defaults:`" in fault.hint
    assert data("'<<': 1") == {"<<": 1}


def test_all_faults_come_in_one_go() -> None:
    document = parse_yaml(b"a: no\nb: 012\na: 1:30\n")
    assert [fault.place for fault in document.faults] == [
        Place(1, 4),
        Place(2, 4),
        Place(3, 1),
        Place(3, 4),
    ]


def test_places_of_keys_and_values() -> None:
    root = parse_yaml(b"a:\n  b: [x, {c: y}]\n").root
    assert root.place_of(("a", "b", 1, "c")) == Place(2, 14)
    assert root.place_of_key(("a", "b", 1, "c")) == Place(2, 11)
    assert root.place_of_key(("a", "b")) == Place(2, 3)
    # What is missing has the place of what it is missing in.
    assert root.place_of(("a", "z", "y")) == root.place_of(("a",)) == Place(2, 3)
    assert root.place_of_key(("a", "b", 1, "z")) == Place(2, 10)


def test_aliases_share_what_they_name() -> None:
    read = data("a: &x [1, 2]\nb: *x\nc: &y z\nd: *y\n")
    assert read == {"a": [1, 2], "b": [1, 2], "c": "z", "d": "z"}


def test_an_alias_names_the_latest_anchor() -> None:
    assert data("a: &x 1\nb: &x 2\nc: *x\n") == {"a": 1, "b": 2, "c": 2}


@pytest.mark.parametrize(
    ("raw", "place", "said"),
    [
        (b"", None, "empty"),
        (b"# only a comment\n", None, "empty"),
        (b"a: 1\n---\nb: 2\n", Place(2, 1), "second document"),
        (b"a: &x [*x]\n", Place(1, 8), "inside its own anchor"),
        (b"a: *nobody\n", Place(1, 4), "no anchor"),
        (b"a: {{ secret }}\n", Place(1, 5), "key must be plain text"),
        (b"? [a]\n: b\n", Place(1, 3), "key must be plain text"),
        (b"a: *\n", None, "meaning of their own"),
        (b"a:\n\tb: 1\n", Place(2, 1), "tab"),
        (b"a: b: c\n", Place(1, 5), "colon too many"),
        (b"a: 'b\n", None, "closing quote"),
        (b"a: [b\n", None, "bracket"),
        (b"a: 1\n b: 2\n", Place(2, 3), "colon too many"),
        (b"a:\n  b: 1\n c: 2\n", Place(3, 2), "indentation"),
        (b"a: @b\n", Place(1, 4), "cannot begin"),
        (b'a: "\\q"\n', None, "is not an escape"),
        (b"a: \xff\n", Place(1, 4), "UTF-8"),
        (b"\xff\xfea\x00:\x00", Place(1, 1), "UTF-8"),
        (b"a: 1\nb: \x00\n", Place(2, 4), "U+0000"),
        (b"a: \xc3\xa9\x1b\n", Place(1, 5), "U+001B"),
        (b"a" * (MAX_BYTES + 1), None, "larger than 4 MiB"),
    ],
)
def test_what_is_no_configuration_ends_with_one_clear_fault(
    raw: bytes, place: Place | None, said: str
) -> None:
    fault = fatal(raw)
    assert said in fault.message
    if place is not None:
        assert fault.place == place


def test_a_byte_order_mark_is_no_part_of_the_text() -> None:
    document = parse_yaml(b"\xef\xbb\xbfa: no\n")
    assert document.root.data == {"a": "no"}
    assert document.faults[0].place == Place(1, 4)


def test_syntax_errors_quote_nothing_of_the_file() -> None:
    assert "hunter2" not in str(fatal(b"secret: !hunter2!hunter2 x\n").message)


def test_an_alias_bomb_is_refused_while_it_is_read() -> None:
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30)]
    assert f"more than {MAX_NODES} keys and values" in fatal("\n".join(lines).encode()).message


@pytest.mark.parametrize("opening", ["[", "{a: ", "- ", "a:\n "])
def test_deep_nesting_is_refused_without_recursion(opening: str) -> None:
    depth = 100_000
    if opening == "a:\n ":
        raw = "".join(f"{' ' * level}a:\n" for level in range(60)).encode()
    else:
        raw = (opening * depth).encode()
    assert sys.getrecursionlimit() < depth
    assert "nested more than" in fatal(raw).message


def test_depth_counts_what_aliases_add() -> None:
    deep = "[" * 20 + "1" + "]" * 20
    assert (
        "nested more than" in fatal(f"a: &x {deep}\nb: {'[' * 20}*x{']' * 20}\n".encode()).message
    )


def test_a_large_file_stops_at_the_limit_of_values(parser: str) -> None:
    raw = b"- a\n" * (MAX_BYTES // 4)
    started = time.process_time()
    assert f"more than {MAX_NODES} keys and values" in fatal(raw).message
    # Of CPU, ten times what it takes here: the bound is the design's, not the machine's.
    assert time.process_time() - started < (60 if parser == "python" else 10)
