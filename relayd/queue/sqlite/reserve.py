"""Room on the disk that is kept for the queue, so that a full disk stops intake and not delivery.

While the disk is full, an attempt's outcome could not be written, and would stay in memory; nor
could anything be removed, since SQLite needs room for that, too. So a file of no use holds some
room, and is deleted when the disk is full. Until there is room for it again, nothing is taken in.
"""

import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from relayd.core.queue_files import RESERVE

RESERVE_BYTES: Final = 8 * 1024 * 1024
"""The WAL takes 4 MiB before it is emptied; the rest holds some ten thousand attempts."""

OPENING_BYTES: Final = 1024 * 1024
"""So much room should there be when the queue is opened: SQLite makes its -wal and -shm."""

_LOOK_S: Final = 1.0

_NO_ROOM: Final = {errno.ENOSPC, errno.EDQUOT}


def reserve_of(queue: Path) -> "FileReserve":
    """Return the reserve that belongs to a queue."""
    return FileReserve(queue.with_name(f"{queue.name}{RESERVE}"))


def reserve_in_use(queue: Path) -> bool:
    """Return whether the reserve was given up, and there is no room to take it again."""
    try:
        if os.path.exists(f"{queue}{RESERVE}"):  # noqa: PTH110 - Path.exists raises where it may not look
            return False
        found = os.statvfs(queue.parent)
    except OSError:
        return False
    return found.f_bavail * found.f_frsize < RESERVE_BYTES


class FileReserve:
    """The reserve as a file beside the queue. `monotonic` gives seconds of a clock that is steady."""

    def __init__(
        self,
        path: Path,
        size: int = RESERVE_BYTES,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._path = path
        self._size = size
        self._monotonic = monotonic
        self.kept = False
        self._next_look_at = -float("inf")

    def keep(self) -> bool:
        """Take the room where it is not kept yet, and say whether it is now.

        While it is not, this looks once a second. Where a reserve cannot be had at all (a file
        system that knows no such thing), it counts as kept: there is none to give up.
        """
        if self.kept:
            return True
        now = self._monotonic()
        if now < self._next_look_at:
            return False
        self._next_look_at = now + _LOOK_S
        self.kept = self._take()
        return self.kept

    def give_up(self) -> bool:
        """Free the room, and say whether there was any."""
        self.kept = False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def make_room(self) -> None:
        """Give the room up before the queue is opened on a full disk."""
        found = os.statvfs(self._path.parent)
        if found.f_bavail * found.f_frsize < OPENING_BYTES:
            self.give_up()

    def _take(self) -> bool:
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            return error.errno not in _NO_ROOM
        try:
            os.posix_fallocate(descriptor, 0, self._size)
        except OSError as error:
            self._path.unlink(missing_ok=True)
            return error.errno not in _NO_ROOM
        finally:
            os.close(descriptor)
        return True
