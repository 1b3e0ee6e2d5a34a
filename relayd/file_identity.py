"""Which file is at a path, or what else: so a file that was replaced is found, and a FIFO not opened."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

_KINDS: Final = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


def other_kind(path: Path | str) -> str | None:
    """Return what is at a path, or where a link leads, when that is something other than a file.

    None for a file, for nothing, and where this user may not look. Opens nothing: opening a FIFO
    waits, opening a device may do anything, and reading one may never end.
    """
    try:
        mode = os.stat(path).st_mode  # noqa: PTH116 - as below
    except OSError:
        return None
    return None if stat.S_ISREG(mode) else _KINDS.get(stat.S_IFMT(mode), "something else")


def not_a_file(paths: Iterable[str]) -> str | None:
    """Say of the first of these paths that leads to something other than a file; None for none."""
    for path in paths:
        if (kind := other_kind(path)) is not None:
            return f"{path} is {kind}, not a file"
    return None


def file_identity(path: Path | str) -> tuple[int, int] | None:
    """Return the device of the file at a path, and its number there; None for no file."""
    try:
        found = os.stat(path)  # noqa: PTH116 - Path.stat takes longer, at each commit and look
    except OSError:
        return None
    return found.st_dev, found.st_ino


class FilesInUse:
    """A database's file and its -wal, as they were when they were opened.

    SQLite goes on writing a file that was moved or deleted: what it commits there is lost to
    whoever opens the path. To look at both after each commit takes 4 µs.
    """

    def __init__(self, path: Path) -> None:
        self._path = str(path)
        self._wal = f"{path}-wal"
        # The -wal is made anew as long as nobody has read from the file: see `note_wal`.
        self._known = {self._path: file_identity(self._path)}

    def note_wal(self) -> None:
        """Note which -wal there is. To be called once this connection has read from the file."""
        if self._wal not in self._known and (identity := file_identity(self._wal)) is not None:
            self._known[self._wal] = identity

    def moved(self) -> str | None:
        """Return the path that no longer leads where it led at first; None where both do."""
        for name in (self._path, self._wal):
            identity = file_identity(name)
            known = self._known.get(name)
            if known is None:
                if identity is not None:
                    self._known[name] = identity
            elif identity != known:
                return name
        return None


def folder_identity(folder: Path) -> tuple[int, ...] | None:
    """Return which folder it is, with its owners and its mode, by which access goes; None for none."""
    try:
        found = folder.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino, found.st_mode, found.st_uid, found.st_gid
