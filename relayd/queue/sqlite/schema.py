"""Which version of the tables a file has, and the way from each to the newest one.

The version is in SQLite's `user_version`; `application_id` tells a queue from any other SQLite file.
"""

import os
import sqlite3
from pathlib import Path
from typing import Final

from relayd.file_identity import other_kind
from relayd.queue.sqlite.earlier_causes import earlier_cause
from relayd.queue.sqlite.tables import MIGRATIONS, OLD_TABLE, VERSION

APPLICATION_ID = 0x52454C59  # "RELY"

FOREIGN: Final = "it is a SQLite file of another program"


class SchemaMismatchError(Exception):
    """The file is no queue that this relayd can use; it was left untouched."""


def read_version(db: sqlite3.Connection) -> int:
    """Return the version of the queue in this file, 0 for an empty file.

    Raises `SchemaMismatchError` for a file of something else, or of a newer relayd.
    """
    [(application_id,)] = db.execute("PRAGMA application_id")
    [(version,)] = db.execute("PRAGMA user_version")
    [(tables,)] = db.execute("SELECT count(*) FROM sqlite_schema")
    if tables == 0 and application_id == 0:
        return 0
    if application_id != APPLICATION_ID:
        raise SchemaMismatchError(f"{FOREIGN}. Give queue.path a file of relayd's own.")
    if version > VERSION:
        raise SchemaMismatchError(
            f"it was written by a newer relayd (queue version {version}, this one knows {VERSION})."
            " Install that version again, or a newer one."
        )
    return int(version)


def is_unfinished(db: sqlite3.Connection) -> bool:
    """Tell whether events of an older version are still to be moved or numbered."""
    moving = db.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (OLD_TABLE,)).fetchone()
    # They are numbered in their order.
    newest = db.execute("SELECT sequence FROM events ORDER BY seq DESC LIMIT 1").fetchone()
    return moving is not None or newest == (0,)


def migrate(db: sqlite3.Connection, version: int, tag: str) -> None:
    """Bring the tables from `version` to this one, inside the caller's transaction.

    `tag` is given to a queue that is made here for the first time.
    """
    # Renaming a table would otherwise rename it in what refers to it, too.
    db.execute("PRAGMA legacy_alter_table = ON").fetchall()
    db.create_function("relayd_earlier_cause", 2, _earlier_cause, deterministic=True)
    for number, script in enumerate(MIGRATIONS[version:], start=version + 1):
        for statement in _statements(script):
            db.execute(statement)
        db.execute(f"PRAGMA user_version = {number}")
    if version == 0:
        db.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        db.execute("INSERT INTO queue (tag) VALUES (?)", (tag,))
    db.execute("PRAGMA legacy_alter_table = OFF").fetchall()


def _earlier_cause(failure: str, detail: str) -> str:
    cause, _ = earlier_cause(failure, detail)
    return str(cause)


def _statements(script: str) -> list[str]:
    # executescript would commit the caller's transaction first. (A trigger's inner statements end in "; ".)
    return [part.strip() for part in script.split(";\n") if part.strip()]


def is_queue_file(path: Path) -> bool:
    """Tell whether a file begins as a queue, or a copy of one, does. Opens nothing but a file."""
    if other_kind(path):
        return False
    try:
        # Without waiting, whatever it is.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
        with os.fdopen(descriptor, "rb") as file:
            header = file.read(72) or b""  # a pipe that somebody holds open
    except OSError:
        return False
    return header[68:72] == APPLICATION_ID.to_bytes(4)  # SQLite's file format, 1.3
