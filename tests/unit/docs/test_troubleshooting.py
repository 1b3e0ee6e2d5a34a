"""docs/troubleshooting.md: what its symptoms quote is what relayd, or the program named here, prints."""

import errno
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import cache
from pathlib import Path

import pytest
from printed_text import strings_of

from relayd.cli import COMMANDS

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "troubleshooting.md"


def symptoms(text: str) -> list[str]:
    """Return the first column of each table, without its header."""
    cells = [
        line.split(" | ")[0].removeprefix("| ") for line in text.splitlines() if line[:2] == "| "
    ]
    return [cell for cell in cells if cell != "symptom" and not set(cell) <= set("-| ")]


def quoted(text: str) -> list[str]:
    return [each for cell in symptoms(text) for each in re.findall(r"`([^`]+)`", cell)]


@cache
def printed() -> tuple[str, ...]:
    return tuple(each.text for path in (ROOT / "relayd").rglob("*.py") for each in strings_of(path))


def is_printed(words: str) -> bool:
    """Tell whether a string of relayd has these words; `…` is text that is put in."""
    if code := re.fullmatch(r'"code":"(\w+)"', words):
        words = code[1]
    if re.fullmatch(
        r"[a-z_]+", words
    ):  # a code is a string of its own, in a row of `name = "code"`
        return words in printed()
    return any(words in text for text in printed())


def sqlite_says(folder: Path, act: Callable[[sqlite3.Connection], object], *, uri: str = "") -> str:
    path = folder / "market.db"
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE t (x)")
    try:
        with closing(sqlite3.connect(f"file:{path}{uri}", uri=True, timeout=0)) as db:
            act(db)
    except sqlite3.Error as error:
        return str(error)
    return ""


def insert(db: sqlite3.Connection) -> None:
    db.execute("INSERT INTO t VALUES (1)")


def locked(db: sqlite3.Connection) -> None:
    path = db.execute("PRAGMA database_list").fetchone()[2]
    with closing(sqlite3.connect(path)) as other:
        other.execute("BEGIN IMMEDIATE")
        insert(db)


def absent(_: sqlite3.Connection) -> None:
    sqlite3.connect("/nothing/here.db").execute("SELECT 1")


SQLITE: dict[str, tuple[Callable[[sqlite3.Connection], object], str]] = {
    "database is locked": (locked, ""),
    "attempt to write a readonly database": (insert, "?mode=ro"),
    "unable to open database file": (absent, ""),
    "no such table: relayd_spool": (lambda db: db.execute("SELECT * FROM relayd_spool"), ""),
}
"""What SQLite says in a producer's program, and how to have it say so."""

OTHERS = {
    "relayd: command not found": "the shell",
    "externally-managed-environment": "pip",
    "config.yaml": "a file",
    "status --check": "a command",
}


@pytest.mark.parametrize("words", sorted(set(quoted(PAGE.read_text()))))
def test_what_a_symptom_quotes_is_printed(words: str, tmp_path: Path) -> None:
    if words in SQLITE:
        act, uri = SQLITE[words]
        assert words in sqlite_says(tmp_path, act, uri=uri)
    elif words in OTHERS or words.removeprefix("relayd ") in COMMANDS:
        return
    elif words.isupper():
        assert words in errno.errorcode.values()
    else:
        assert is_printed(words.removesuffix("…").strip()), f"relayd prints nothing with {words!r}"


def test_a_message_that_relayd_does_not_print_is_found() -> None:
    text = "| symptom | look with |\n| --- | --- |\n| `nothing listens at …`, `wrong_shop` | x |\n"
    assert quoted(text) == ["nothing listens at …", "wrong_shop"]
    assert not any(is_printed(each.removesuffix("…").strip()) for each in quoted(text))
