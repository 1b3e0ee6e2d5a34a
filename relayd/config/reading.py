"""Reading a whole small file, whatever stands at its path, in a bounded time and space."""

import os
import stat
from dataclasses import dataclass
from pathlib import Path

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
        status = os.fstat(descriptor)
        mode = status.st_mode
        if not stat.S_ISREG(mode):
            return Unreadable("is a directory" if stat.S_ISDIR(mode) else "is not a file")
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return FileContent(
                file.read(most + 1), stat.S_IMODE(mode), status.st_gid, status.st_uid
            )
    except OSError as error:
        return Unreadable(f"cannot be read: {error.strerror}")
    finally:
        os.close(descriptor)
