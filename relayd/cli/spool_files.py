"""Spools as files: making one, and looking into one without changing anything."""

import os
import sqlite3
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Final

from relayd.config.sections import QueueConfig, SpoolConfig
from relayd.core.queue_files import SQLITE_SIDES, queue_beside
from relayd.permissions import (
    ActingError,
    Identity,
    acting_as,
    identity_of,
    owner_to_become,
    run_as,
    user_name,
)
from relayd.queue.sqlite.schema import is_queue_file
from relayd.spool.files import SpoolBarredError, looking_into, missing_words, spool_problem
from relayd.spool.shape import FIX, differences
from relayd.spool.table import ROW_BYTES, SPOOL_TABLE, SpoolUnusableError, shape_of
from relayd.sqlite_errors import NOT_UTF_8, file_in_words

_BUSY_TIMEOUT_S: Final = 5.0
_WITHIN_S: Final = 10.0
"""A look ends after this time: somebody else's table may hold an expression without end."""
_LATEST: Final = 253_402_300_800  # the year 10000, where dates end
_FOLDER_MODE: Final = 0o2770
_WAL_BYTES: Final = slice(18, 20)


class SpoolFileError(Exception):
    """A spool cannot be made; says why, and what to do."""


def create_spool(path: Path, table: str, mode: int, group: int | None = None) -> None:
    """Make a SQLite file with a spool's table. `mode` is the file's, as 0o660.

    With a `group`, by its number, the file is that group's, and a folder that is not there is made
    for it. In a folder of another user's, root makes both for that user. Raises `SpoolFileError`,
    and leaves nothing half made. What is there stays as it is.
    """
    _check_name(path)
    made = group is not None and _make_folder(path.parent, group)
    try:
        _create(path, table, mode, group)
    except SpoolFileError:
        if made:
            with acting_as(owner_to_become(path.parent, making=True)):
                path.parent.rmdir()
        raise


def _check_name(path: Path) -> None:
    for side in SQLITE_SIDES:
        if path.name.endswith(side):
            raise SpoolFileError(
                f"{path}: SQLite uses names that end in {side} for its own files; choose another"
            )
    queue = queue_beside(str(path))
    if queue is not None and is_queue_file(Path(queue)):
        raise SpoolFileError(f"{path} is the name of a file of the queue {queue}; choose another")


def _create(path: Path, table: str, mode: int, group: int | None) -> None:
    owner = owner_to_become(path, making=True)
    flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with acting_as(owner):
            descriptor = os.open(path, flags, 0o600)
    except FileExistsError:
        raise SpoolFileError(
            f"{path} already exists and was not changed. In your own database, create the table "
            f"in a migration: `relayd spool sql` prints it"
        ) from None
    except OSError as error:
        raise SpoolFileError(
            f"user {owner.name if owner else user_name()} cannot make {path}: {error.strerror}"
        ) from None
    try:
        # By its descriptor: whoever may write in the folder decides what is at the path.
        with os.fdopen(descriptor, "wb") as file:
            file.write(_empty_spool(table))
            file.flush()
            if group is not None:
                os.fchown(descriptor, -1, group)
            os.fchmod(descriptor, mode)
            os.fsync(descriptor)
    except OSError as error:
        with acting_as(owner):
            path.unlink()
        if isinstance(error, PermissionError):
            raise SpoolFileError(f"user {user_name()} is not in that group: use sudo") from None
        raise SpoolFileError(f"cannot make {path}: {error.strerror}") from None


def _empty_spool(table: str) -> bytes:
    """Return a SQLite file that holds a spool's table."""
    with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
        db.execute(SPOOL_TABLE.format(table=f'"{table}"' if table != "relayd_spool" else table))
        raw = bytearray(db.serialize())
    # WAL, in which readers and writers do not wait for each other (SQLite's file format, 1.3.3).
    raw[_WAL_BYTES] = b"\2\2"
    return bytes(raw)


def _make_folder(folder: Path, group: int) -> bool:
    """Make a folder in which a group's programs can use a spool; False where there is one."""
    owner = owner_to_become(folder, making=True)
    try:
        with acting_as(owner):
            folder.mkdir(0o700)
            descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except FileExistsError:
        return False
    except OSError as error:
        raise SpoolFileError(
            f"user {owner.name if owner else user_name()} cannot make {folder}: {error.strerror}"
        ) from None
    try:
        # It may have been exchanged since: nobody else's folder is given away.
        if os.fstat(descriptor).st_uid != (owner.uid if owner else os.geteuid()):
            raise SpoolFileError(f"{folder} was replaced while it was being created")
        os.fchown(descriptor, -1, group)
        os.fchmod(descriptor, _FOLDER_MODE)
    except OSError as error:
        with acting_as(owner):
            folder.rmdir()
        raise SpoolFileError(
            f"user {user_name()} cannot give {folder} to that group ({error.strerror}): use sudo"
        ) from None
    finally:
        os.close(descriptor)
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
    `differences` are those of its table that relayd can do with; `fix` says how to make it right.
    """

    waiting: int | None
    oldest: int | None
    problem: str | None
    differences: list[str]
    fix: str | None = None


def look_into(spool: SpoolConfig, queue: QueueConfig) -> SpoolLook:
    """Count what waits in a spool, and say what is wrong with it. Changes nothing.

    Root looks as the spool's owner, and says what keeps relayd's user out, whose `queue` is.
    """
    try:
        found = run_as(
            owner_to_become(spool.path), lambda: asdict(_look(spool)), _WITHIN_S + _BUSY_TIMEOUT_S
        )
        look = SpoolLook(**found)
        if look.problem is None and (relayd := relayd_user(queue)) is not None:
            user = relayd if relayd.uid != os.geteuid() else None
            problem = run_as(user, partial(spool_problem, spool.path), _WITHIN_S)
            look = SpoolLook(look.waiting, look.oldest, problem, look.differences, look.fix)
    except ActingError as error:
        return SpoolLook(None, None, str(error), [])
    return look


def table_words(look: SpoolLook) -> list[str]:
    """Return how the table differs from the one that was meant, and what to do about it."""
    return [*look.differences, *([] if look.fix is None else [look.fix])]


def relayd_user(queue: QueueConfig) -> Identity | None:
    """Return the user who owns the queue, which is relayd's; None where this one cannot act as it."""
    for path in (queue.path, queue.path.parent):
        try:
            found = path.stat()
        except OSError:
            continue
        if os.geteuid() in (0, found.st_uid):
            return identity_of(found.st_uid, found.st_gid)
        return None
    return None


def _look(spool: SpoolConfig) -> SpoolLook:
    # SQLite keeps -wal and -shm beside the file that a link leads to.
    path = Path(os.path.realpath(spool.path))
    if not os.path.exists(path) and not path.is_symlink():  # noqa: PTH110 - Path.exists raises where it may not look
        return SpoolLook(None, None, _missing(path), [])
    used = _is_used(path)
    try:
        with looking_into(path, _BUSY_TIMEOUT_S, _WITHIN_S) as db:
            shape_of(db, path, spool.table)
            return _counted(db, spool.table)
    except (SpoolUnusableError, SpoolBarredError) as problem:
        return SpoolLook(None, None, str(problem).removeprefix(f"{path}: "), [])
    except OSError as error:
        return SpoolLook(None, None, f"user {user_name()} cannot read it: {error.strerror}", [])
    except (sqlite3.Error, UnicodeDecodeError) as error:
        if not used and _is_used(path):
            return _look(spool)  # it was opened as one that nobody uses, and changed meanwhile
        return SpoolLook(None, None, _unreadable(path, error), [])


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
            f"{_rows_are(oversized)} larger than {ROW_BYTES // 2**20} MiB: relayd leaves them "
            "where they are; delete them"
        )
    others = [each.words for each in found if not each.breaks]
    return SpoolLook(waiting, oldest, "; ".join(problems) or None, others, FIX if found else None)


def _rows_are(count: float) -> str:
    return "1 row is" if count == 1 else f"{count:.0f} rows are"


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
        locked=f"another process has locked it for {_BUSY_TIMEOUT_S:g} s",
        interrupted=f"reading it takes longer than {_WITHIN_S:g} s",
        barred=barred,
    )
