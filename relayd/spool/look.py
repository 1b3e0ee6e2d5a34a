"""Looks into a spool for a command, without changing anything: what waits in it, what is wrong.

A look has a time limit: somebody else's table may hold an expression without end.
"""

import os
import sqlite3
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relayd.permissions import user_name
from relayd.spool.files import SpoolBarredError, looking_into, missing_words
from relayd.spool.shape import FIX, differences
from relayd.spool.table import ROW_BYTES, SpoolUnusableError, oversized_words, shape_of
from relayd.sqlite_errors import NOT_UTF_8, file_in_words

BUSY_TIMEOUT_S: Final = 5.0
WITHIN_S: Final = 10.0
_LATEST: Final = 253_402_300_800  # the year 10000, where dates end


@dataclass(frozen=True, slots=True)
class SpoolLook:
    """What waits in a spool. `oldest` is the earliest `created`, in Unix seconds.

    `problem` says why relayd cannot read it, or all of it; then the counts may be None.
    `differences` are those of its table that relayd can do with; `fix` says how to make it right.
    """

    waiting: int | None
    oldest: int | None
    problem: str | None
    differences: list[str]
    fix: str | None = None


def look_into_spool(path: Path, table: str) -> SpoolLook:
    """Count what waits in a spool, and say what is wrong with it, as this user. Changes nothing."""
    # SQLite keeps -wal and -shm beside the file that a link leads to.
    path = Path(os.path.realpath(path))
    if not os.path.exists(path) and not os.path.islink(path):  # noqa: PTH110, PTH114 - Path's raise where they may not look
        return SpoolLook(None, None, _missing(path), [])
    used = _is_used(path)
    try:
        with looking_into(path, BUSY_TIMEOUT_S, WITHIN_S) as db:
            shape_of(db, path, table)
            return _counted(db, table)
    except (SpoolUnusableError, SpoolBarredError) as problem:
        return SpoolLook(None, None, str(problem).removeprefix(f"{path}: "), [])
    except OSError as error:
        return SpoolLook(None, None, f"user {user_name()} cannot read it: {error.strerror}", [])
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if not used and _is_used(path):
            return look_into_spool(
                path, table
            )  # it was opened as one that nobody uses, and changed meanwhile
        return SpoolLook(None, None, _unreadable(path, error), [])


def is_in_spool(path: Path, table: str, event_id: str, *, within_s: float) -> bool:
    """Tell whether an event waits in a spool, as far as this user can see.

    `table` is a name that the configuration has let through.
    """
    try:
        with looking_into(path, 1.0, within_s) as db:
            row = db.execute(
                f'SELECT 1 FROM "{table}" WHERE id = ?',  # noqa: S608 - letters, digits and _
                (event_id,),
            ).fetchone()
    except (sqlite3.Error, UnicodeDecodeError, OSError, SpoolBarredError):
        return False
    return row is not None


def _is_used(path: Path) -> bool:
    return os.path.exists(f"{path}-wal")  # noqa: PTH110 - Path.exists raises where it may not look


def _counted(db: sqlite3.Connection, table: str) -> SpoolLook:
    found = differences(db, table)
    problems = [each.words for each in found if each.breaks]
    [(waiting, oldest, oversized)] = db.execute(
        "SELECT count(*), min(CASE WHEN typeof(created) = 'integer' AND created BETWEEN 0 AND ?"  # noqa: S608 - the table was found by its name
        " THEN created END), total(length(CAST(data AS BLOB)) > ?)"
        f' FROM "{table}"',
        (_LATEST, ROW_BYTES),
    ).fetchall()
    if oversized:
        problems.append(
            f"{oversized_words(oversized)}: relayd leaves them where they are; delete them"
        )
    others = [each.words for each in found if not each.breaks]
    return SpoolLook(waiting, oldest, "; ".join(problems) or None, others, FIX if found else None)


def _missing(path: Path) -> str:
    if not os.access(path.parent, os.X_OK) and os.path.exists(path.parent):  # noqa: PTH110 - as above
        return f"user {user_name()} may not look into {path.parent}"
    return missing_words(path)


def _unreadable(path: Path, error: sqlite3.Error | UnicodeDecodeError) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"SQLite reports an error {NOT_UTF_8}"
    barred = f"user {user_name()} cannot read it, or not write in {path.parent}"
    readonly = getattr(error, "sqlite_errorcode", 0) & 0xFF == sqlite3.SQLITE_READONLY
    if readonly and os.path.exists(f"{path}-journal"):  # noqa: PTH110 - as above
        barred = "a transaction was cut off, and is rolled back when a program next writes to it"
    return file_in_words(
        error,
        locked=f"another process has locked it for {BUSY_TIMEOUT_S:g} s",
        interrupted=f"reading it takes longer than {WITHIN_S:g} s",
        barred=barred,
    )
