"""One daemon for each queue: a lock that dies with its process, and says whose it is."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class QueueLockedError(Exception):
    """Another daemon runs on this queue."""

    def __init__(self, path: Path, pid: str) -> None:
        super().__init__(
            f"another relayd runs on this queue: process {pid or 'unknown'} holds {path}. "
            "Stop it first, or give this one another queue.path."
        )


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock file, with this process's number in it. Raises `QueueLockedError`, `OSError`.

    The kernel releases the lock however the process ends; the file stays, since removing it would
    let two processes hold two files of one name.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise QueueLockedError(path, os.pread(descriptor, 32, 0).decode().strip()) from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
