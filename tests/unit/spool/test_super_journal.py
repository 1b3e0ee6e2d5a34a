"""The super-journal that a rollback journal names: found as SQLite finds it, and refused."""

import os
import sqlite3
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from relayd.spool.super_journal import SuperJournalError, check_journal, super_journal

MAGIC = bytes.fromhex("d9d505f920a163d7")


def trailer(name: bytes) -> bytes:
    return name + struct.pack(">II", len(name), sum(name) & 0xFFFFFFFF) + MAGIC


def test_a_journal_of_sqlites_own_is_understood(tmp_path: Path) -> None:
    # A transaction over two files that ends between writing both journals and deleting the first.
    program = """
import os, sqlite3, sys
db = sqlite3.connect("first.db", isolation_level=None)
db.execute("PRAGMA cache_size = 1")
db.execute("ATTACH 'second.db' AS second")
for schema in ("main", "second"):
    db.execute(f"CREATE TABLE {schema}.t (a)")
db.execute("BEGIN")
for schema in ("main", "second"):
    db.execute(f"INSERT INTO {schema}.t VALUES (1)")
db.set_progress_handler(None, 0)
db.execute("COMMIT")
"""
    command = [sys.executable, "-c", program]
    kept = ["strace", "-f", "-o", os.devnull, "-e", "trace=unlink", "-e", "signal=none"]
    kept += ["-e", "inject=unlink:signal=KILL:when=3"]
    if not Path("/usr/bin/strace").exists():
        pytest.skip("needs strace")
    subprocess.run([*kept, *command], cwd=tmp_path, check=False, timeout=60)
    journals = list(tmp_path.glob("*.db-journal"))
    assert journals, list(tmp_path.iterdir())
    for journal in journals:
        name = super_journal(journal)
        assert name is not None
        assert Path(name).parent == tmp_path
        spool = Path(str(journal).removesuffix("-journal"))
        check_journal(spool, confined=True)
        with pytest.raises(SuperJournalError):
            check_journal(spool, confined=False)


@pytest.mark.parametrize("confined", [True, False])
@pytest.mark.parametrize(
    "name", ["/etc/passwd", "queue.db", "{folder}/queue.db", "{folder}/../x-mj0123456789"]
)
def test_a_name_that_sqlite_does_not_give_is_refused(
    tmp_path: Path, name: str, confined: bool
) -> None:
    named = name.format(folder=tmp_path).encode()
    (tmp_path / "spool.db-journal").write_bytes(MAGIC + bytes(504) + trailer(named))
    with pytest.raises(SuperJournalError, match="as its owner"):
        check_journal(tmp_path / "spool.db", confined=confined)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"x" * 15, bytes(600), MAGIC + bytes(504),
        bytes(512) + struct.pack(">II", 0, 0) + MAGIC,
        bytes(12) + struct.pack(">II", 5000, 0) + MAGIC,
    ],
)  # fmt: skip
def test_a_journal_without_a_name_passes(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "spool.db-journal").write_bytes(content)
    check_journal(tmp_path / "spool.db", confined=False)


def test_a_wrong_checksum_is_no_way_through(tmp_path: Path) -> None:
    raw = b"/etc/passwd" + struct.pack(">II", 11, 12345) + MAGIC
    (tmp_path / "spool.db-journal").write_bytes(bytes(512) + raw)
    with pytest.raises(SuperJournalError):
        check_journal(tmp_path / "spool.db", confined=True)


def test_no_journal_or_a_strange_one_passes(tmp_path: Path) -> None:
    check_journal(tmp_path / "spool.db", confined=False)
    os.mkfifo(tmp_path / "spool.db-journal")
    check_journal(tmp_path / "spool.db", confined=False)
    (tmp_path / "other.db-journal").symlink_to("/etc/passwd")
    check_journal(tmp_path / "other.db", confined=False)


def test_a_live_transaction_of_one_file_passes(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / "spool.db", isolation_level=None)
    db.execute("CREATE TABLE t (a)")
    db.execute("BEGIN")
    db.execute("INSERT INTO t VALUES (1)")
    assert (tmp_path / "spool.db-journal").exists()
    check_journal(tmp_path / "spool.db", confined=False)
    db.close()
