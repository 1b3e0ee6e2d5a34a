"""What an error of SQLite's means, in words and as an exception, wherever SQLite is used."""

import sqlite3
from pathlib import Path
from typing import Final

_BUSY: Final = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_REFUSED: Final = {
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
    sqlite3.SQLITE_RANGE,
}
_BARRED: Final = {sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM}
_DAMAGED: Final = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

NOT_UTF_8: Final = "whose words are not UTF-8: there are damaged names in its schema"
"""What is said where Python raises `UnicodeDecodeError`, since it cannot decode SQLite's message."""


def is_busy(error: sqlite3.Error) -> bool:
    """Tell whether another process holds a lock."""
    return _code(error) & 0xFF in _BUSY


def is_full(error: sqlite3.Error) -> bool:
    """Tell whether the disk is full. The -shm file has its own error for that."""
    code = _code(error)
    return code & 0xFF == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE


def is_refused(error: sqlite3.Error) -> bool:
    """Tell whether the file is sound, and what was to be written is not."""
    # Without a code, it was refused before it came to SQLite: a value of a type that it has not.
    before = not _code(error) and not isinstance(error, sqlite3.OperationalError)
    return before or _code(error) & 0xFF in _REFUSED


def is_interrupted(error: sqlite3.Error) -> bool:
    """Tell whether the statement was ended because it ran for too long."""
    return _code(error) & 0xFF == sqlite3.SQLITE_INTERRUPT


def is_damaged(error: sqlite3.Error) -> bool:
    """Tell whether the file is damaged, or not a database."""
    return _code(error) & 0xFF in _DAMAGED


def in_words(error: sqlite3.Error) -> str:
    """Return what went wrong."""
    if is_busy(error):
        return "another process holds its lock"
    if is_full(error):
        return "the disk is full"
    name = getattr(error, "sqlite_errorname", "")
    return f"{error} ({name})" if name else str(error)


def file_in_words(error: sqlite3.Error, *, locked: str, interrupted: str, barred: str) -> str:
    """Return why a command could not use a file, in words for the operator.

    The caller says what it means that another process holds the file's lock, that a statement ran
    for too long, and that this user may not open or write the file.
    """
    if is_busy(error):
        return locked
    if is_interrupted(error):
        return interrupted
    code = _code(error) & 0xFF
    if code in _BARRED:
        return barred
    return "it is not a SQLite file" if code == sqlite3.SQLITE_NOTADB else in_words(error)


def damaged_in_words(path: object, found: str) -> str:
    """Return what to do about a damaged file."""
    return (
        f"the file is damaged, or not a SQLite database ({found}), and was left as it is. Keep a"
        " copy of it and of its -wal; then restore a backup, or save what can be read with"
        f" `sqlite3 {path} .recover | sqlite3 NEW`"
    )


class DatabaseError(Exception):
    """SQLite could not do what was asked of a file; nothing of the transaction happened."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path
        self.reason = reason


class DatabaseBusyError(DatabaseError):
    """Another process holds the file's lock. It may be tried again."""


class DatabaseFullError(DatabaseError):
    """No room is left on the disk. It may be tried again once there is."""


class DatabaseRefusedError(DatabaseError):
    """SQLite refused a value: a constraint, a type, a size. The file is sound.

    In relayd's own queue this is a defect of relayd's, and says nothing of any other value.
    """


class DatabaseFailedError(DatabaseError):
    """The file or its disk is broken, or the file is no longer what it was.

    Never tried again: after a failed sync nobody knows what is on the disk.
    """


class DatabaseUnexplainedError(DatabaseFailedError):
    """SQLite failed, and nothing but its own words says why; it may follow from another failure."""


class DatabaseDamagedError(DatabaseFailedError):
    """What the file holds is no longer a sound database. Nothing of it is changed any more."""

    def __init__(self, path: Path, found: str) -> None:
        super().__init__(path, damaged_in_words(path, found))


def database_error(path: Path, error: sqlite3.Error) -> DatabaseError:
    """Return the error of a file that an error of SQLite's is."""
    reason = in_words(error)
    if is_busy(error):
        return DatabaseBusyError(path, reason)
    if is_full(error):
        return DatabaseFullError(path, reason)
    if is_refused(error):
        return DatabaseRefusedError(path, reason)
    if is_damaged(error):
        return DatabaseDamagedError(path, reason)
    return DatabaseUnexplainedError(path, reason)


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))
