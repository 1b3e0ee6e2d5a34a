"""What SQLite's errors mean, in words for the operator: with errors that SQLite itself raised."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from relayd.sqlite_errors import file_in_words


def locked(folder: Path) -> None:
    with closing(sqlite3.connect(folder / "a.db", timeout=0, isolation_level=None)) as one:
        one.execute("BEGIN EXCLUSIVE")
        with closing(sqlite3.connect(folder / "a.db", timeout=0)) as other:
            other.execute("SELECT * FROM sqlite_schema").fetchall()


def interrupted(_: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.set_progress_handler(lambda: 1, 1_000)
        endless = (
            "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT max(n) FROM c"
        )
        db.execute(endless).fetchall()


def missing(folder: Path) -> None:
    with closing(sqlite3.connect(f"file:{folder}/none.db?mode=rw", uri=True)) as db:
        db.execute("SELECT 1 FROM sqlite_schema")


def read_only(folder: Path) -> None:
    sqlite3.connect(folder / "a.db").close()
    with closing(sqlite3.connect(f"file:{folder}/a.db?mode=ro", uri=True)) as db:
        db.execute("CREATE TABLE t (a)")


def another_file(folder: Path) -> None:
    (folder / "a.db").write_bytes(b"not a database" * 100)
    with closing(sqlite3.connect(folder / "a.db")) as db:
        db.execute("SELECT * FROM sqlite_schema")


def no_table(_: Path) -> None:
    with closing(sqlite3.connect(":memory:")) as db:
        db.execute("SELECT * FROM t")


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (locked, "is locked"),
        (interrupted, "takes too long"),
        (missing, "may not be opened"),
        (read_only, "may not be opened"),
        (another_file, "it is not a SQLite file"),
        (no_table, "no such table: t (SQLITE_ERROR)"),
    ],
)
def test_each_error_has_its_words(
    cause: Callable[[Path], None], words: str, tmp_path: Path
) -> None:
    with pytest.raises(sqlite3.Error) as raised:
        cause(tmp_path)
    found = file_in_words(
        raised.value, locked="is locked", interrupted="takes too long", barred="may not be opened"
    )
    assert found == words
