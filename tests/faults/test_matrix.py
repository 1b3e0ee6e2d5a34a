"""`docs/reliability.md` names a test for each fault: each of them exists."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text()
MATRIX = PAGE.partition("## The matrix")[2].partition("## What these found")[0]

NAMED = re.compile(r"`((?:unit|integration|end_to_end|faults|torture)/[\w/]+\.py)(?:::(\w+))?`")
ROW = re.compile(r"^\| (\d+)★? \|.*\|$", re.MULTILINE)

FAULTS = {*range(1, 20), *range(21, 80)}
STARRED = {1, 2, 3, 10, 14, 21, 22, 23, 33, 37, 42, 49, 50, 51, 54, 55, 56, 59, 62, 63, 65}


def missing(page: str) -> list[str]:
    """Return the tests that a page names and that are not there."""
    found = []
    for path, name in NAMED.findall(page):
        file = TESTS / path
        names: set[str] = set()
        if file.exists():
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                    names.add(node.name)
                elif isinstance(node, ast.Assign):
                    names |= {each.id for each in node.targets if isinstance(each, ast.Name)}
        if not file.exists() or (name and name not in names):
            found.append(f"{path}::{name}")
    return found


def test_each_test_that_is_named_exists() -> None:
    assert len(NAMED.findall(PAGE)) > 90
    assert missing(PAGE) == []


def test_a_test_that_is_not_there_would_be_noticed() -> None:
    page = "`faults/test_syncs.py::test_nothing`, `faults/test_nowhere.py::test_a`"
    assert missing(page) == ["faults/test_syncs.py::test_nothing", "faults/test_nowhere.py::test_a"]


def test_each_fault_has_a_row_with_a_test() -> None:
    rows = [match[0] for match in ROW.finditer(MATRIX)]
    assert {int(match[1]) for match in ROW.finditer(MATRIX)} == FAULTS
    assert {int(row.split("★")[0].strip("| ")) for row in rows if "★ |" in row} == STARRED
    for row in rows:
        assert NAMED.search(row), row
