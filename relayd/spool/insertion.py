"""Inserts rows into a spool as any producer does, for the commands that hand events over."""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

from relayd.core.queue_files import sqlite_uri
from relayd.permissions import user_name
from relayd.spool.files import limit_statements, missing_words
from relayd.spool.shape import FIX, differences
from relayd.spool.table import SpoolUnusableError, shape_of
from relayd.sqlite_errors import file_in_words

Row = tuple[str, str, str, int]
"""An event's id, type, data as a JSON text, and time in Unix seconds."""

_LOCK_TIMEOUT_S: Final = 10.0
_INSERT_S: Final = 30.0


class NotInsertedError(Exception):
    """An event was not inserted; says why, and what to do."""


def insert(path: Path, table: str, batches: Iterable[Sequence[Row]]) -> Iterator[list[str]]:
    """Insert each batch in one transaction, and yield its ids once it is durable.

    `table` is a name that the configuration has let through. Raises `NotInsertedError`, also where
    relayd could not take what is inserted; what was yielded before stays inserted.
    """
    try:
        path.stat()
    except FileNotFoundError:
        raise NotInsertedError(missing_words(path)) from None
    except OSError as error:
        raise NotInsertedError(
            f"{path}: user {user_name()} cannot open it: {error.strerror}"
        ) from None
    try:
        with closing(
            sqlite3.connect(
                sqlite_uri(str(path), "rw"),
                uri=True,
                isolation_level=None,
                timeout=_LOCK_TIMEOUT_S,
            )
        ) as db:
            limit_statements(db, _INSERT_S)
            _check_table(db, path, table)
            for batch in batches:
                limit_statements(db, _INSERT_S)
                db.execute("BEGIN IMMEDIATE")
                db.executemany(
                    f'INSERT INTO "{table}" (id, type, data, created)'  # noqa: S608 - letters, digits and _
                    " VALUES (?, ?, ?, ?)",
                    batch,
                )
                db.execute("COMMIT")
                yield [event_id for event_id, *_ in batch]
    except sqlite3.Error as error:
        raise NotInsertedError(_words(path, table, error)) from error


def insert_one(path: Path, event_type: str, data: str) -> str:
    """Insert an event into a spool of relayd's own making; return the id that its table gave it."""
    with closing(sqlite3.connect(path, isolation_level=None, timeout=_LOCK_TIMEOUT_S)) as db:
        [(event_id,)] = db.execute(
            "INSERT INTO relayd_spool (type, data) VALUES (?, ?) RETURNING id", (event_type, data)
        ).fetchall()
    return str(event_id)


def _check_table(db: sqlite3.Connection, path: Path, table: str) -> None:
    """Raise `NotInsertedError` where rows go in that relayd would never read, or would reject."""
    try:
        shape_of(db, path, table)
    except SpoolUnusableError as problem:
        raise NotInsertedError(str(problem)) from None
    found = differences(db, table)
    if problems := [each.words for each in found if each.breaks and not each.defaults_only]:
        raise NotInsertedError(f"{path}: {'; '.join(problems)}; {FIX}")


def _words(path: Path, table: str, error: sqlite3.Error) -> str:
    text = str(error)
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_CONSTRAINT_UNIQUE:
        return f"the spool already has an event with this id ({path})"
    if "has no column" in text:
        return f"{path}: {text}; `relayd spool sql` prints the required table"
    if text.startswith("no such table"):
        return (
            f"{path} has no table {table}; `relayd spool sql` prints it, "
            "for that database's migrations"
        )
    reason = file_in_words(
        error,
        locked=f"another process has locked it for {_LOCK_TIMEOUT_S:g} s; try again",
        interrupted=f"an INSERT takes longer than {_INSERT_S:g} s; look at the table's definition",
        barred=(
            f"user {user_name()} cannot write it: a producer needs write access to the file "
            f"and to {path.parent}"
        ),
    )
    return f"{path}: {reason}"
