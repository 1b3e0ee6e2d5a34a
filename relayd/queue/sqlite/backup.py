"""Copies the queue into another file: one state of it, whole, while a daemon writes to it or not.

The copy is made inside one read transaction. SQLite's online backup otherwise begins anew whenever
another connection commits, and beside steady deliveries never ends. As long as it takes (some
seconds for a gigabyte), nothing of the -wal can be moved into the file, so that the -wal grows by
what is committed meanwhile; it is cut back afterwards.
"""

import fcntl
import os
import sqlite3
import stat
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from relayd.core.queue_files import queue_files, sqlite_uri
from relayd.queue.sqlite.read_only import begin_reading, open_file
from relayd.queue.sqlite.reserve import RESERVE_BYTES
from relayd.queue.sqlite.schema import is_queue_file

_PAGES_AT_ONCE: Final = 2_000

Progress = Callable[[int, int], None]
"""Is told how many pages are copied, and of how many."""


class BackupError(Exception):
    """There is no backup; says why. What was in the file before is there still."""


@dataclass(frozen=True, slots=True)
class Backup:
    """What is in a backup."""

    size_bytes: int
    events: int
    deliveries: int
    waiting: int


def back_up(queue: Path, target: Path, *, replace: bool, progress: Progress) -> Backup:
    """Copy the queue, check the copy, and only then give it its name.

    With `replace` it may take another file's place. Until then it is `target` with `.partial`, which
    is removed when the copy fails, and written anew when that was left by a process that was killed.
    Raises `BackupError`, or `QueueUnreadableError` for the queue itself.
    """
    _check_target(queue, target, replace=replace)
    partial = _partial(target)
    try:
        descriptor = _take(partial)
    except OSError as error:
        raise BackupError(f"{partial} cannot be written: {error.strerror}") from error
    try:
        _copy(queue, partial, progress)
        backup = _examine(partial)
        os.fsync(descriptor)
        # Once more: it took a while.
        _check_target(queue, target, replace=replace)
        partial.rename(target)
        _sync_folder(target.parent)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise BackupError(f"{target} cannot be written: {error.strerror}") from error
        raise
    finally:
        os.close(descriptor)
    return backup


def _check_target(queue: Path, target: Path, *, replace: bool) -> None:
    if os.path.isdir(target):  # noqa: PTH112 - Path.is_dir raises where it may not look
        raise BackupError(f"{target} is a folder; name a file in it")
    for path in (target, _partial(target)):
        if _is_of_queue(path, queue):
            raise BackupError(f"{path} is a file of the queue itself; name another")
    if os.path.lexists(target) and not replace:
        raise BackupError(f"{target} already exists; --force replaces it")
    if os.path.lexists(target) and not (_is_empty(target) or is_queue_file(target)):
        # It may be the configuration, or a spool, whose events nobody has accepted yet.
        raise BackupError(
            f"{target} is not a backup of a queue and was not changed; name another file"
        )


def _is_empty(target: Path) -> bool:
    with suppress(OSError):
        found = target.stat()
        return stat.S_ISREG(found.st_mode) and found.st_size == 0
    return False


def _partial(target: Path) -> Path:
    return target.with_name(f"{target.name}.partial")


def _is_of_queue(path: Path, queue: Path) -> bool:
    """Tell whether a path is, or leads to, the queue or what belongs to it, there or not."""
    names = {name for base in (str(queue), os.path.realpath(queue)) for name in queue_files(base)}
    if os.path.realpath(path) in {os.path.realpath(name) for name in names}:
        return True
    with suppress(OSError):
        return any(os.path.exists(name) and os.path.samefile(path, name) for name in names)  # noqa: PTH110, PTH121 - texts
    return False


def _take(partial: Path) -> int:
    """Make the file, for this process alone. Raises `BackupError` where another one writes it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    while True:
        descriptor = os.open(partial, flags, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Another backup may have given it its name, or removed it, since it was opened.
            if _is_at(partial, descriptor):
                os.fchmod(descriptor, 0o600)
                os.ftruncate(descriptor, 0)
                return descriptor
        except BlockingIOError:
            os.close(descriptor)
            raise BackupError(f"another backup is writing {partial}") from None
        except OSError:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def _copy(queue: Path, partial: Path, progress: Progress) -> None:
    def tell(_: int, remaining: int, total: int) -> None:
        progress(total - remaining, total)

    uri = sqlite_uri(str(partial), "rw")
    with (
        open_file(queue) as source,
        closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as copy,
    ):
        begin_reading(source)
        try:
            _check_room(source, queue, partial)
            # Nothing to roll back to, and one sync at the end.
            copy.execute("PRAGMA journal_mode = OFF").fetchall()
            copy.execute("PRAGMA synchronous = OFF").fetchall()
            source.backup(copy, pages=_PAGES_AT_ONCE, progress=tell)
        except sqlite3.Error as error:
            raise BackupError(f"{queue} cannot be copied to {partial}: {error}") from error


def _check_room(source: sqlite3.Connection, queue: Path, partial: Path) -> None:
    """Raise `BackupError` where the copy has no room: a full disk would keep relayd from taking in events."""
    (pages,), (page_bytes,) = (
        source.execute(f"PRAGMA {name}").fetchone() for name in ("page_count", "page_size")
    )
    needed = pages * page_bytes
    if queue.stat().st_dev == partial.stat().st_dev:
        needed += RESERVE_BYTES
    found = os.statvfs(partial)
    free = found.f_bavail * found.f_frsize
    if needed > free:
        raise BackupError(
            f"{partial.parent} has {free // 10**6:,} MB free, and a backup there needs"
            f" {-(-needed // 10**6):,} MB; name a file on another disk"
        )


def _examine(partial: Path) -> Backup:
    # As it is: SQLite would make a -wal and a -shm beside it.
    uri = sqlite_uri(str(partial), "ro", immutable=True)
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as copy:

        def first(sql: str) -> str | int:
            value: str | int = copy.execute(sql).fetchone()[0]
            return value

        try:
            found = first("PRAGMA quick_check(1)")
        except sqlite3.DatabaseError as error:
            found = str(error)
        if found != "ok":
            raise BackupError(f"the copy is damaged, and so is the queue, it seems: {found}")
        return Backup(
            size_bytes=partial.stat().st_size,
            events=int(first("SELECT count(*) FROM events")),
            deliveries=int(first("SELECT count(*) FROM deliveries")),
            waiting=int(first("SELECT count(*) FROM deliveries WHERE due_at IS NOT NULL")),
        )


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
