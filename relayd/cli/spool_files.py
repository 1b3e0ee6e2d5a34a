"""Spools as files: making one, and looking into one without changing anything."""

import os
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import quote

from relayd.config.sections import SpoolConfig
from relayd.queue.reading import user_name
from relayd.spool.table import ROW_BYTES, SPOOL_TABLE

_BUSY_TIMEOUT_S: Final = 5.0
_LATEST: Final = 253_402_300_800  # the year 10000, where dates end
_COLUMNS: Final = ("seq", "id", "type", "data", "created", "market_id", "api_version")
_FOLDER_MODE: Final = 0o2770


class SpoolFileError(Exception):
    """A spool cannot be made; says why, and what to do."""


def create_spool(path: Path, table: str, mode: int, group: int | None = None) -> None:
    """Make a SQLite file with a spool's table. `mode` is the file's, as 0o660.

    With a `group`, by its number, the file is that group's, and a folder that is not there is made
    for it. Raises `SpoolFileError`, and leaves nothing half made. What is there stays as it is.
    """
    made = group is not None and _make_folder(path.parent, group)
    try:
        _create(path, table, mode, group)
    except SpoolFileError:
        if made:
            path.parent.rmdir()
        raise


def _create(path: Path, table: str, mode: int, group: int | None) -> None:
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        raise SpoolFileError(
            f"{path} exists already, and is left as it is. Into a database of your own the table "
            f"comes by your migrations: `relayd spool sql` prints it"
        ) from None
    except OSError as error:
        raise SpoolFileError(f"cannot make {path}: {error.strerror}") from None
    try:
        # Before SQLite opens it: -wal and -shm take the database's mode.
        if group is not None:
            os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, mode)
        with closing(sqlite3.connect(path, isolation_level=None)) as db:
            # Readers and writers do not wait for each other in this mode; the file remembers it.
            db.execute("PRAGMA journal_mode = WAL")
            db.execute(SPOOL_TABLE.format(table=f'"{table}"' if table != "relayd_spool" else table))
    except PermissionError:
        path.unlink()
        raise SpoolFileError(f"user {user_name()} is not in that group: use sudo") from None
    except (sqlite3.Error, OSError) as error:
        path.unlink()
        raise SpoolFileError(f"cannot make {path}: {error}") from None
    finally:
        os.close(descriptor)


def _make_folder(folder: Path, group: int) -> bool:
    """Make a folder in which a group's programs can use a spool; False where there is one."""
    try:
        folder.mkdir(0o700)
    except FileExistsError:
        return False
    except OSError as error:
        raise SpoolFileError(f"cannot make {folder}: {error.strerror}") from None
    try:
        os.chown(folder, -1, group)
        folder.chmod(_FOLDER_MODE)
    except OSError as error:
        folder.rmdir()
        raise SpoolFileError(
            f"user {user_name()} cannot give {folder} to that group ({error.strerror}): use sudo"
        ) from None
    return True


def is_shared_folder(folder: Path, group: int) -> bool:
    """Tell whether a group's programs can use a spool in this folder, whoever of them is first.

    SQLite's files beside the spool must come to belong to the group, not to who makes them.
    """
    found = folder.stat()
    return found.st_gid == group and found.st_mode & _FOLDER_MODE == _FOLDER_MODE


@dataclass(frozen=True, slots=True)
class SpoolLook:
    """What waits in a spool. `oldest` is the earliest `created`, in Unix seconds.

    `problem` says why relayd cannot read it, or all of it; then the counts may be None.
    """

    waiting: int | None
    oldest: int | None
    problem: str | None


def look_into(spool: SpoolConfig) -> SpoolLook:
    """Count what waits in a spool. Changes nothing."""
    path = spool.path
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises where it may not look
        return SpoolLook(None, None, _missing(path))
    try:
        with closing(sqlite3.connect(_uri(path), uri=True, timeout=_BUSY_TIMEOUT_S)) as db:
            problem = _table_problem(db, spool.table)
            return SpoolLook(None, None, problem) if problem else _counted(db, spool.table)
    except OSError as error:
        return SpoolLook(None, None, f"user {user_name()} cannot read it: {error.strerror}")
    except sqlite3.Error as error:
        return SpoolLook(None, None, _unreadable(path, error))


def _uri(path: Path) -> str:
    """Return how to open a spool so that no file comes into being.

    In WAL mode the first to open a database makes -wal and -shm, which then belong to that user:
    an operator who looks must not shut relayd and the producers out. Without a -wal nobody uses it.
    """
    with path.open("rb") as file:
        header = file.read(20)
    # Bytes 18 and 19: 2 for WAL (SQLite's file format, 1.3.3).
    unused = header[18:20] == b"\2\2" and not os.path.exists(f"{path}-wal")  # noqa: PTH110 - as above
    return f"file:{quote(str(path))}?mode=ro" + ("&immutable=1" if unused else "")


def _counted(db: sqlite3.Connection, table: str) -> SpoolLook:
    [(waiting, oldest, oversized)] = db.execute(
        "SELECT count(*), min(CASE WHEN typeof(created) = 'integer' AND created BETWEEN 0 AND ?"  # noqa: S608 - the table was found by its name
        " THEN created END), total(length(CAST(data AS BLOB)) > ?)"
        f' FROM "{table}"',
        (_LATEST, ROW_BYTES),
    ).fetchall()
    problem = None
    if oversized:
        problem = (
            f"{oversized:.0f} rows are larger than {ROW_BYTES // 2**20} MiB: relayd leaves them "
            "where they are; delete them"
        )
    return SpoolLook(waiting, oldest, problem)


def _table_problem(db: sqlite3.Connection, table: str) -> str | None:
    kinds = {
        kind
        for (kind,) in db.execute(
            "SELECT type FROM sqlite_schema WHERE lower(tbl_name) = lower(?)"
            " AND type IN ('table', 'view', 'trigger')",
            (table,),
        )
    }
    if not kinds:
        return f"it has no table {table}: `relayd spool sql` prints it"
    if kinds != {"table"}:
        return f"{table} must be a plain table, without views or triggers of its own"
    columns = {name for _, name, *_ in db.execute(f'PRAGMA table_info("{table}")')}
    missing = [name for name in _COLUMNS if name not in columns]
    if missing:
        return f"table {table} lacks {', '.join(missing)}: `relayd spool sql` prints it whole"
    return None


def _missing(path: Path) -> str:
    if not os.access(path.parent, os.X_OK) and os.path.exists(path.parent):  # noqa: PTH110 - as above
        return f"user {user_name()} may not look into {path.parent}"
    return f"it is not there: `relayd spool create {path}` makes it"


def _unreadable(path: Path, error: sqlite3.Error) -> str:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return f"another process has locked it for {_BUSY_TIMEOUT_S:g} s"
        case sqlite3.SQLITE_NOTADB:
            return "it is no SQLite file"
        case sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return f"user {user_name()} cannot read it, or not write in {path.parent}"
        case _:
            return str(error)
