"""What is printed: nothing that a terminal would act on, tables that line up, text that fits."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.cli.terminal import (
    json_text,
    packed,
    print_json,
    print_table,
    printable,
    wrapped,
)
from relayd.core.shown_json import json_indented


@given(st.text())
def test_printable_text_is_printable_and_keeps_what_is(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert printable(shown) == shown
    if text.isprintable():
        assert shown == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("crêpes 🥖", "crêpes 🥖"),
        ("\x1b[2J", r"\x1b[2J"),
        ("a\nb\r\t", r"a\nb\r\t"),
        ("\u202egpj", r"\u202egpj"),
        ("\udc80", r"\udc80"),
        ("\U000e0001", r"\U000e0001"),
    ],
)
def test_what_becomes_of_control_characters(text: str, shown: str) -> None:
    assert printable(text) == shown


def test_tables_line_up(capsys: pytest.CaptureFixture[str]) -> None:
    print_table(("NAME", "COUNT", "SINCE"), [("a", "5", "2h"), ("longer\x1b", "10,000", "")])
    assert capsys.readouterr().out.splitlines() == [
        "NAME         COUNT  SINCE",
        "a                5  2h",
        r"longer\x1b  10,000",
    ]


def test_a_table_on_a_terminal_fits_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("NO_COLOR", "1")
    print_table(("A", "B"), [("x", "words " * 20), ("[bold]y", "2\x1b[2J")])
    out = capsys.readouterr().out
    assert max(len(line.rstrip()) for line in out.splitlines()) <= 40
    assert "[bold]y" in out
    assert "2\\x1b[2J" in out


def test_wrapped_text_fits_and_keeps_long_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    text = wrapped("one two three four five six seven " + "x" * 40, "    ", first="  a ")
    lines = text.splitlines()
    assert lines[0].startswith("  a one")
    assert lines[-1] == "    " + "x" * 40
    assert max(map(len, lines[:-1])) <= 30


def test_a_document_keeps_its_characters_and_order(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"z": "crêpe", "a": [1, None]})
    out = capsys.readouterr().out
    assert "crêpe" in out
    assert list(json.loads(out)) == ["z", "a"]


json_values = st.recursive(
    st.text() | st.integers() | st.none() | st.booleans() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(json_values)
def test_a_document_is_the_same_one_and_moves_no_cursor(value: object) -> None:
    for indent in (None, 2):
        shown = json_text(value, indent=indent)
        assert all(line.isprintable() for line in shown.split("\n"))
        assert json.loads(shown) == value


@pytest.mark.parametrize(
    "char", ["\x9b31m", "\x85", "\u202e", "\u2066", "\u200b", "\U000e0001", "\ud83e"]
)
def test_a_document_escapes_what_acts_on_a_terminal(
    capsys: pytest.CaptureFixture[str], char: str
) -> None:
    print_json({"answer": f"a{char}b"})
    shown = capsys.readouterr().out
    assert char[0] not in shown
    assert json.loads(shown) == {"answer": f"a{char}b"}


@given(json_values)
def test_indented_json_is_as_python_indents_it(value: object) -> None:
    compact = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    assert json_indented(compact) == json.dumps(value, ensure_ascii=False, indent=2)


def test_indented_json_keeps_each_digit() -> None:
    number = "9" * 5_000
    text = f'{{"a":[{number},1.50,1e400,"{{,]"]}}'
    shown = json_indented(text)
    assert number in shown
    assert "".join(shown.split()) == text


def test_a_command_stays_in_one_line_and_wide_characters_count_twice(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    assert wrapped("so `relayd retry dlv_1` does").split("\n") == [
        "so",
        "`relayd retry dlv_1`",
        "does",
    ]
    assert wrapped("訂單" * 8, "  ").split("\n") == ["  " + "訂單" * 4 + "訂", "  單" + "訂單" * 3]
    assert packed(["訂單" * 4, "ab", "cd"], " ") == [" " + "訂單" * 4, " ab  cd"]
    assert wrapped("") == ""
