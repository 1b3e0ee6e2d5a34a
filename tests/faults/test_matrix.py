"""`docs/reliability.md` names a test for each fault: each of them exists."""

import ast
import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text()
MATRIX = PAGE.partition("## The matrix")[2].partition("## What these found")[0]

NAMED = re.compile(r"`((?:unit|integration|end_to_end|faults|torture)/[\w/]+\.py)(?:::(\w+))?`")
ROW = re.compile(r"^\| (\d+[a-c]?)(★?) \|.*\|$", re.MULTILINE)

FAULTS = {*map(str, (*range(1, 20), *range(21, 81))), "79a", "79b", "79c"}
STARRED = {
    *map(str, (1, 2, 3, 10, 14, 21, 22, 23, 33, 37, 42, 49, 50, 51, 54, 55, 56, 59, 62, 63, 65)),
    "79a",
}


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
    rows = list(ROW.finditer(MATRIX))
    assert {row[1] for row in rows} == FAULTS
    assert {row[1] for row in rows if row[2]} == STARRED
    for row in rows:
        assert NAMED.search(row[0]), row[0]


def test_each_table_has_rows_of_its_own_shape() -> None:
    columns = 0
    for line, text in enumerate(PAGE.splitlines(), start=1):
        if not text.startswith("|"):
            columns = 0
            continue
        found = len(re.findall(r"(?<!\\)\|", text)) - 1
        columns = columns or found
        assert found == columns, f"line {line}: {found} columns in a table of {columns}"
