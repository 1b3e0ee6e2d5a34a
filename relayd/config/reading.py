"""Reading a whole small file, whatever stands at its path, in a bounded time and space.

Every file that a configuration consists of is read here, and `recorded_reads` notes each of them: what
is in force can be compared with what is on disk later, whichever key named the file.
"""

import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from relayd.permissions import user_name


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file's bytes, its permission bits, and the numbers of its group and its owner."""

    raw: bytes
    mode: int
    group: int
    owner: int

    @property
    def readable_by_all(self) -> bool:
        """Whether others on the machine may read it, as far as its mode says."""
        return bool(self.mode & stat.S_IROTH)


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a file cannot be read: a phrase that follows its name. `missing`: there is none."""

    reason: str
    missing: bool = False


@dataclass(frozen=True, slots=True)
class FileRead:
    """A file as it was when it was read: up to `most` bytes and one more, of which `digest` is made.

    While `stamp` is the same, so is the content. None: it was changed so shortly before it was
    read that the file system's clock could not tell a later change from that one.
    """

    path: str
    most: int
    stamp: tuple[int, ...] | None
    digest: bytes


_SETTLED_NS = 100_000_000
"""A file's times are those of the kernel's last tick, 10 ms apart at most; some file systems are slower."""

_reads: ContextVar[dict[str, FileRead] | None] = ContextVar("reads", default=None)

_ATTEMPTS: Final = 5
"""How often a file is read that is written to while it is read."""


@contextmanager
def recorded_reads() -> Iterator[dict[str, FileRead]]:
    """Yield what is read in the block, by path, in the order in which it was first read."""
    found: dict[str, FileRead] = {}
    token = _reads.set(found)
    try:
        yield found
    finally:
        _reads.reset(token)


def file_stamp(status: os.stat_result) -> tuple[int, ...]:
    """Return what changes whenever a file is written to or replaced, also where its times are set."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def _note(path: Path, most: int, status: os.stat_result, raw: bytes) -> None:
    reads = _reads.get()
    if reads is not None:
        settled = abs(time.time_ns() - status.st_ctime_ns) > _SETTLED_NS
        stamp = file_stamp(status) if settled else None
        reads[str(path)] = FileRead(str(path), most, stamp, sha256(raw).digest())


def absolute(path: Path) -> Path:
    """Return the path that leads there whatever the working directory is later."""
    # Not resolved: beside a symbolic link stands what the operator sees there.
    return Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps `..`


def read_file(path: Path, most: int) -> FileContent | Unreadable:
    """Return what the file at `path` holds, up to one byte more than `most`. Blocks on the disk."""
    try:
        # Opening a pipe or a device would wait, and reading it never end.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError:
        return Unreadable("does not exist", missing=True)
    except OSError as error:
        return Unreadable(f"cannot be opened by user {user_name()}: {error.strerror}")
    except ValueError:
        return Unreadable("is not a valid path")
    try:
        return _content(path, descriptor, most)
    except OSError as error:
        return Unreadable(f"cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)


def _content(path: Path, descriptor: int, most: int) -> FileContent | Unreadable:
    for _ in range(_ATTEMPTS):
        status = os.fstat(descriptor)
        mode = status.st_mode
        if not stat.S_ISREG(mode):
            return Unreadable("is a directory" if stat.S_ISDIR(mode) else "is not a file")
        raw = _up_to(descriptor, most + 1)
        # Otherwise it may be a part of the old content with a part of the new one.
        if file_stamp(os.fstat(descriptor)) == file_stamp(status):
            # With what the file was before it was read: a change meanwhile is then seen later.
            _note(path, most, status, raw)
            return FileContent(raw, stat.S_IMODE(mode), status.st_gid, status.st_uid)
        os.lseek(descriptor, 0, os.SEEK_SET)
    return Unreadable("is being written to all the time; try again once it is complete")


def _up_to(descriptor: int, size: int) -> bytes:
    # Not by a file object: where there is nothing to read yet, as in /proc/kmsg, that returns None.
    raw = bytearray()
    while len(raw) < size and (part := os.read(descriptor, min(size - len(raw), 1_048_576))):
        raw += part
    return bytes(raw)
