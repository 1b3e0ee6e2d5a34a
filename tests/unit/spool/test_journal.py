"""Journals with which SQLite would remove another file."""

import os
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from relayd.spool.journal import journal_problem

MAGIC = bytes.fromhex("d9d505f920a163d7")


def trailer(name: bytes) -> bytes:
    return name + len(name).to_bytes(4) + (sum(name) & 0xFFFFFFFF).to_bytes(4) + MAGIC


@pytest.mark.parametrize(
    "raw",
    [b"", b"short", bytes(512), MAGIC + bytes(504), bytes(600) + bytes(4) + bytes(4) + MAGIC],
)
def test_a_journal_of_one_database(tmp_path: Path, raw: bytes) -> None:
    spool = tmp_path / "spool.db"
    assert journal_problem(spool) is None
    Path(f"{spool}-journal").write_bytes(raw)
    assert journal_problem(spool) is None


@pytest.mark.parametrize("checksum", [True, False])
def test_a_journal_that_names_a_file(tmp_path: Path, checksum: bool) -> None:
    raw = bytes(512) + trailer(b"/var/lib/relayd/queue.db")
    if not checksum:
        raw = raw[:-12] + bytes(4) + MAGIC
    (tmp_path / "spool.db-journal").write_bytes(raw)
    found = journal_problem(tmp_path / "spool.db")
    assert found is not None
    assert "names another file, which SQLite would remove" in found
    assert "queue.db" not in found  # whatever a stranger wrote there


def test_a_journal_that_sqlite_itself_makes_for_one_database(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("CREATE TABLE t (x)")
        db.execute("BEGIN")
        db.execute("INSERT INTO t VALUES (1)")
        assert Path(f"{path}-journal").stat().st_size > 0
        assert journal_problem(path) is None


@pytest.mark.parametrize("kind", ["link", "folder", "pipe"])
def test_what_is_not_a_plain_file_is_refused(tmp_path: Path, kind: str) -> None:
    journal = tmp_path / "spool.db-journal"
    if kind == "link":
        (tmp_path / "elsewhere").touch()
        journal.symlink_to(tmp_path / "elsewhere")
    elif kind == "folder":
        journal.mkdir()
    else:
        os.mkfifo(journal)
    found = journal_problem(tmp_path / "spool.db")
    assert found is not None
    assert str(journal) in found
