"""Tells when a SQLite file, or what SQLite keeps beside it, was touched by another process.

The folder is watched with inotify(7), since the -wal file comes and goes. It tells of a write, and
so before the commit can be seen.
"""

import ctypes
import os
import struct
from pathlib import Path
from typing import Final, Self

from relayd.file_identity import file_identity

_MODIFY, _ATTRIB, _MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x2, 0x4, 0x40, 0x80, 0x100, 0x200
_CHANGES: Final = _MODIFY | _ATTRIB | _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
_EVENT: Final = struct.Struct("iIII")  # watch, mask, cookie, length of the name that follows
_READ_BYTES: Final = 64 * 1024

_libc: Final = ctypes.CDLL(None, use_errno=True)


class FileWatch:
    """A watch on one file and what SQLite keeps beside it. Opened before the file is first read.

    `descriptor` becomes readable when something in the folder changes; it is None where there are
    no watches left, or there is no folder: looking every second still finds each row.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._name = os.fsencode(path.name)
        self._identity = file_identity(self._path)
        self.descriptor: int | None = _watch(str(path.parent))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.descriptor is not None:
            os.close(self.descriptor)
            self.descriptor = None

    def same_file(self) -> bool:
        """Tell whether the path still leads to the file that it led to when the watch began.

        An open connection goes on reading and writing a file that was moved away.
        """
        return file_identity(self._path) == self._identity

    def touched(self) -> bool:
        """Read what inotify has, without waiting, and tell whether some of it is about our file."""
        if self.descriptor is None:
            return False
        touched = False
        while True:
            try:
                raw = os.read(self.descriptor, _READ_BYTES)
            except BlockingIOError:
                return touched
            except OSError:
                return True
            touched = touched or self._is_about_us(raw)

    def _is_about_us(self, raw: bytes) -> bool:
        start = 0
        while start < len(raw):
            *_, length = _EVENT.unpack_from(raw, start)
            start += _EVENT.size
            name = raw[start : start + length].rstrip(b"\0")
            start += length
            # Any name that begins with ours: the file, its -wal, its -journal. -shm is written by
            # readers as well. An overflow of the queue has no name.
            if not name or (name.startswith(self._name) and not name.endswith(b"-shm")):
                return True
        return False


def _watch(folder: str) -> int | None:
    descriptor = int(_libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC))
    if descriptor < 0:
        return None
    if _libc.inotify_add_watch(descriptor, os.fsencode(folder), _CHANGES) < 0:
        os.close(descriptor)
        return None
    return descriptor
