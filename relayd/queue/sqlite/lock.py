"""One daemon for each queue: a lock that dies with its process, and says whose it is.

It also tells whether the daemon before this one ended in order: only then it took its number out.
"""

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

_WIDTH = 16


class QueueLockedError(Exception):
    """Another daemon runs on this queue."""

    def __init__(self, path: Path, pid: str) -> None:
        super().__init__(
            f"another relayd is using this queue: process {pid or 'unknown'} holds {path}. "
            "Stop it first, or give this one another queue.path."
        )


@dataclass(frozen=True, slots=True)
class Lock:
    """A lock that is held. `ended_in_order` is about the daemon that held it before, if any."""

    ended_in_order: bool


@contextmanager
def locked(path: Path) -> Iterator[Lock]:
    """Hold the lock file, with this process's number in it. Raises `QueueLockedError`, `OSError`.

    The kernel releases the lock however the process ends; the file stays, since removing it would
    let two processes hold two files of one name. The number stays in it when an exception, or a
    kill, ends what runs under the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        found = os.pread(descriptor, _WIDTH, 0).decode("ascii", "replace").strip()
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise QueueLockedError(path, found) from None
        _write(descriptor, str(os.getpid()))
        yield Lock(ended_in_order=not found)
        _write(descriptor, "")
    finally:
        os.close(descriptor)


def _write(descriptor: int, text: str) -> None:
    # In place: on a full disk there is no room for what was given away. Without a number, the lock
    # holds all the same.
    try:
        os.pwrite(descriptor, f"{text:<{_WIDTH - 1}}\n".encode(), 0)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
