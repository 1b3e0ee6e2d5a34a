"""Opens the queue for a command that only reads: beside a running daemon, or without one.

Plain sqlite3, since such a process has nothing else to do meanwhile, and starts faster so.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from relayd.core.hold import Hold
from relayd.core.queue_files import sqlite_files, sqlite_uri
from relayd.file_identity import not_a_file
from relayd.permissions import user_name
from relayd.queue.snapshot_values import KnownSubscription, QueueUnreadableError
from relayd.queue.sqlite.place import something_else
from relayd.queue.sqlite.schema import APPLICATION_ID, FOREIGN, is_unfinished
from relayd.queue.sqlite.tables import VERSION
from relayd.sqlite_errors import file_in_words

_BUSY_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One state of the queue, whatever is written meanwhile. `tag` stands in deliveries' ids."""

    db: sqlite3.Connection
    tag: str
    subscriptions: Mapping[str, KnownSubscription]


@contextmanager
def open_reading(path: Path) -> Iterator[Reading]:
    """Open the queue, and show it as it is now until the end of the block. Writes nothing.

    Raises `QueueUnreadableError`, also for what goes wrong inside the block.
    """
    with open_file(path) as db:
        yield begin_reading(db)


@contextmanager
def open_file(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the queue's file to read from, with no transaction begun.

    Raises `QueueUnreadableError`, also for what goes wrong inside the block.
    """
    if not os.path.exists(path):  # noqa: PTH110 - Path.exists raises where it may not look
        raise QueueUnreadableError(path, _missing(path))
    if (problem := not_a_file(sqlite_files(os.path.realpath(path)))) is not None:
        raise QueueUnreadableError(path, problem.removeprefix(f"{path} "))
    if words := something_else(path):
        raise QueueUnreadableError(path, f"{words}; queue.path names relayd's own file")
    try:
        db = sqlite3.connect(
            sqlite_uri(str(path), "ro"),
            uri=True,
            isolation_level=None,
            timeout=_BUSY_TIMEOUT_S,
        )
        try:
            _check(db, path)
            yield db
        finally:
            db.close()
    except sqlite3.Error as error:
        raise QueueUnreadableError(path, _explain(error, path)) from error


def begin_reading(db: sqlite3.Connection) -> Reading:
    """Begin a transaction, which shows the queue as it is now until it is ended."""
    db.execute("BEGIN")
    [tag] = db.execute("SELECT tag FROM queue").fetchone() or [""]
    rows = db.execute("SELECT id, name, url, hold FROM subscriptions ORDER BY name")
    known = {
        name: KnownSubscription(number, name, url, None if hold is None else Hold(hold))
        for number, name, url, hold in rows
    }
    return Reading(db, tag, known)


def _check(db: sqlite3.Connection, path: Path) -> None:
    db.execute("PRAGMA trusted_schema = OFF")
    [application_id] = db.execute("PRAGMA application_id").fetchone()
    [version] = db.execute("PRAGMA user_version").fetchone()
    [tables] = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()
    if tables == 0 and application_id == 0:
        raise QueueUnreadableError(path, "the queue is empty: `relayd run` has not used it yet")
    if application_id != APPLICATION_ID:
        raise QueueUnreadableError(path, f"{FOREIGN}; queue.path names relayd's own file")
    if version > VERSION:
        raise QueueUnreadableError(
            path,
            f"a newer relayd wrote it (queue version {version}, this one knows {VERSION}); "
            "use that version's command, and restart what still runs as this one (`relayd web`)",
        )
    if version < VERSION:
        raise QueueUnreadableError(
            path,
            f"an older relayd wrote it (queue version {version}, this one reads {VERSION}); "
            "`relayd run` of this version brings it up to date when it starts",
        )
    if is_unfinished(db):
        raise QueueUnreadableError(
            path,
            "its events are still being moved from an older version's table; try again once"
            " `relayd run` has started: its log shows the progress",
        )


def _missing(path: Path) -> str:
    try:
        path.stat()
    except PermissionError:
        return f"user {user_name()} may not look into its directory; use sudo, or relayd's user"
    except OSError:
        pass
    return "there is no queue yet: `relayd run` creates it when it first starts"


def _explain(error: sqlite3.Error, path: Path) -> str:
    if not os.access(path, os.R_OK):
        return f"user {user_name()} may not read it; use sudo, or relayd's user"
    return file_in_words(
        error,
        locked="another process holds its lock; try again",
        interrupted="reading it takes too long",
        barred=(
            f"it cannot be opened: user {user_name()} needs write access to {path.parent}, "
            "where SQLite keeps its -wal and -shm files"
        ),
    )
