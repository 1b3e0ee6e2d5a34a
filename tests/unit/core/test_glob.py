"""Shell patterns: as Python's fnmatch has them, without what a hostile text or pattern costs."""

import pickle
import re
from fnmatch import fnmatchcase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.glob import LONGEST, Glob
from relayd.core.where import ConditionErrors, compile_where


@given(st.text(alphabet="ab*", max_size=9), st.text(alphabet="ab\n", max_size=9))
def test_literals_and_stars(pattern: str, text: str) -> None:
    assert Glob(pattern).accepts(text) == fnmatchcase(text, pattern)


@given(st.text(alphabet="ab*?[]!-^\\.\n", max_size=9), st.text(alphabet="ab-]\\\n", max_size=6))
def test_all_else(pattern: str, text: str) -> None:
    assert Glob(pattern).accepts(text) == fnmatchcase(text, pattern)


def test_literals_need_no_regular_expression(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(re, "compile", None)
    glob = Glob("*" + "a*" * 100 + "b")
    glob.prepare()
    assert not glob.accepts("a" * 1_000_000)
    assert glob.accepts("a" * 1_000_000 + "b")
    assert not glob.accepts(5)


@pytest.mark.parametrize("pattern", ["a*b", "[ab]?*"])
def test_it_is_sent_as_its_text_alone(pattern: str) -> None:
    glob = Glob(pattern)
    before = pickle.dumps(glob)
    glob.prepare()
    assert pickle.dumps(glob) == before
    assert b"Pattern" not in before
    assert pickle.loads(before) == glob
    assert repr(glob) == f"Glob(pattern={pattern!r})"


def test_a_pattern_has_a_longest_length() -> None:
    compile_where({"data.x": {"glob": "a" * LONGEST}})
    with pytest.raises(ConditionErrors, match="at most 256 characters, and this one 4,000"):
        compile_where({"data.x": {"not": {"glob": "[a]*" * 1000}}})
