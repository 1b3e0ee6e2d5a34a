"""What an error of SQLite's means, and how it is said, wherever SQLite is used."""

import sqlite3
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


def _code(error: sqlite3.Error) -> int:
    return int(getattr(error, "sqlite_errorcode", 0))
