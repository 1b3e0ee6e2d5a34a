"""Looks for damage in the queue before anything is promised on it.

SQLite notices damage only where it reads. The whole file is read by `quick_check`, at about
800 MB/s where it is cached: a queue of up to CHECKED_BYTES is checked at each start. A larger one
would hold up its start for seconds; it is checked when relayd did not end in order, and beside the
deliveries. What is damaged is left as it is, and never made anew.
"""

import sqlite3
import threading
from functools import partial
from pathlib import Path
from typing import Final

import trio

from relayd.database import Database
from relayd.queue.interface import QueueBroken
from relayd.sqlite_errors import damaged_in_words

CHECKED_BYTES: Final = 256 * 1024 * 1024
"""Takes 0.3 s. A queue of 300,000 events of 1 KB waiting is 470 MB."""

_CHECK = "PRAGMA quick_check(1)"
_STEPS_BETWEEN_LOOKS: Final = 10_000  # of SQLite's virtual machine: some milliseconds

_PRAGMAS: Final = ("query_only = ON", "trusted_schema = OFF", "cache_size = -2000")


async def check_at_start(path: Path) -> bool:
    """Check a queue before it is opened; say whether all of it was, or `check_whole` has to.

    Raises `QueueBroken` for a damaged one, and for one of which only the -wal is left. A queue that
    is not there yet is sound.
    """
    size = _size(path)
    if size == 0:
        if _size(path.with_name(f"{path.name}-wal")):
            raise QueueBroken(
                path,
                f"the file is missing or empty, but its {path.name}-wal is there: put it back, or"
                " remove the -wal to begin with an empty queue",
            )
        return True
    if size > CHECKED_BYTES:
        return False
    await check_whole(path)
    return True


async def check_whole(path: Path) -> None:
    """Read all of a queue, beside whoever uses it; stops soon when cancelled.

    Raises `QueueBroken`.
    """
    stopping = threading.Event()

    async def stop_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            stopping.set()

    # A call in SQLite's thread cannot be cancelled, and this one may take long.
    async with (
        Database.open(path, pragmas=_PRAGMAS) as database,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(stop_when_cancelled)
        found = await database.run(partial(_quick_check, stopping=stopping))
        nursery.cancel_scope.cancel()
    if found != "ok":
        raise QueueBroken(path, damaged_in_words(path, found))


def _quick_check(db: sqlite3.Connection, stopping: threading.Event) -> str:
    db.set_progress_handler(stopping.is_set, _STEPS_BETWEEN_LOOKS)
    try:
        [(found,)] = db.execute(_CHECK).fetchall()
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode == sqlite3.SQLITE_INTERRUPT:
            return "ok"  # as far as it came
        raise
    # One line: the first finding stands behind the name of the database.
    return " ".join(str(found).replace("*** in database main ***", "").split())


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
