"""Opens the queue's file: private, brought up to date, with a connection for each use."""

import os
import secrets
import stat
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import structlog

from relayd.database import Database
from relayd.queue.interface import QueueBroken
from relayd.queue.sqlite.looks import open_looks
from relayd.queue.sqlite.migration import finish_migration
from relayd.queue.sqlite.numbers import Numbers
from relayd.queue.sqlite.place import check_place
from relayd.queue.sqlite.queue import Queue
from relayd.queue.sqlite.reserve import reserve_of
from relayd.queue.sqlite.schema import SchemaMismatchError, migrate, read_version

_log = structlog.get_logger()

# NORMAL would return before the sync: measured, an acknowledgement left too early 20 times in 20.
_PRAGMAS = (
    "journal_mode = WAL",
    "synchronous = FULL",
    "foreign_keys = OFF",  # every row is written by us, in one transaction with what it names
    "trusted_schema = OFF",
    "cell_size_check = ON",
    "cache_size = -16000",  # KiB
    "journal_size_limit = 67108864",  # a WAL that grew is cut back to 64 MiB
)
_READER_PRAGMAS = ("query_only = ON", "trusted_schema = OFF", "cache_size = -16000")


def _make_private(path: Path) -> None:
    """Take from others what a restored copy lets them read: bodies and receivers' URLs.

    Raises `QueueBroken` where the file is another user's, who could give it back.
    """
    for name in (path, Path(f"{path}-wal"), Path(f"{path}-shm")):
        try:
            mode = stat.S_IMODE(name.stat().st_mode)
            if mode & 0o077 == 0:
                continue
            name.chmod(0o600)
        except FileNotFoundError:
            continue
        except PermissionError:
            raise QueueBroken(
                path,
                f"{name} may be read by others (mode {mode:04o}) and belongs to another user:"
                f" chown it to relayd's user, and chmod 0600 {name}",
            ) from None
        _log.warning(
            "queue_permissions_fixed",
            path=str(name),
            mode=f"{mode:04o}",
            detail="others could read it; its mode is 0600 now",
        )


@asynccontextmanager
async def open_queue(path: Path, clock: Callable[[], float]) -> AsyncIterator[Queue]:
    """Open the queue, made anew where there is no file, and migrated where it is older.

    `clock` gives Unix seconds. Raises `SchemaMismatchError` for a file that is no queue, or a
    newer one, `QueueError` for one that cannot be read; neither changes the file.
    """
    check_place(path)
    # SQLite would make it readable for others; its -wal and -shm take the file's mode.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    _make_private(path)
    async with Database.open(path, reserve=reserve_of(path)) as writer:
        try:
            version = await writer.run(read_version)
        except SchemaMismatchError as mismatch:
            raise SchemaMismatchError(f"{path}: {mismatch}") from None
        await writer.set_pragmas(_PRAGMAS)
        tag = secrets.token_hex(4)
        await writer.write(lambda db: migrate(db, version, tag))
        await finish_migration(writer)
        async with (
            Database.open(path, pragmas=_READER_PRAGMAS) as reader,
            open_looks(path) as looks,
        ):
            rows = await reader.run(lambda db: db.execute("SELECT tag FROM queue").fetchall())
            if len(rows) != 1:
                raise QueueBroken(path, "it has lost the row that names it")
            numbers = await reader.run(Numbers.read)
            yield Queue(writer, reader, looks, tag=rows[0][0], numbers=numbers, clock=clock)
