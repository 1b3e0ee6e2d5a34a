"""Tells when a SQLite file, or what SQLite keeps beside it, was touched by another process.

The directory is watched with inotify, since the -wal file comes and goes. It tells of a write, and
so before the commit can be seen.
"""

import os
from pathlib import Path
from typing import Self

import trio
from inotify_simple import INotify, flags

_CHANGES = (
    flags.MODIFY | flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO | flags.ATTRIB
)


class FileWatch:
    """A watch on one file and what SQLite keeps beside it. Opened before the file is first read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._inotify: INotify | None = None
        self._identity: tuple[int, int] | None = None

    def __enter__(self) -> Self:
        self._identity = _identity(self._path)
        try:
            self._inotify = INotify(nonblocking=True)
            self._inotify.add_watch(self._path.parent, _CHANGES)
        except OSError:
            # No watches left, or no directory: looking every second still finds each row.
            self._close()
        return self

    def __exit__(self, *_: object) -> None:
        self._close()

    def _close(self) -> None:
        if self._inotify is not None:
            self._inotify.close()
            self._inotify = None

    def same_file(self) -> bool:
        """Whether the path still leads to the file that it led to when the watch began.

        An open connection goes on reading and writing a file that was moved away.
        """
        return _identity(self._path) == self._identity

    def forget_events(self) -> None:
        """Drop what was told so far: the caller is about to look by itself."""
        self._relevant()

    async def changed(self, timeout_s: float) -> bool:
        """Wait until one of the files is touched, for at most `timeout_s`; tell whether one was."""
        inotify = self._inotify
        if inotify is None:
            await trio.sleep(timeout_s)
            return False
        with trio.move_on_after(timeout_s):
            while True:
                await trio.lowlevel.wait_readable(inotify.fileno())
                if self._relevant():
                    return True
        return False

    def _relevant(self) -> bool:
        """Read what inotify has to tell, and say whether some of it is about our file."""
        if self._inotify is None:
            return False
        name = self._path.name
        try:
            events = self._inotify.read(timeout=0)
        except OSError:
            return True
        # Any name that begins with ours: the file, its -wal, its -journal. -shm is written by
        # readers as well.
        return any(
            event.name.startswith(name) and not event.name.endswith("-shm") for event in events
        )


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        found = os.stat(path)  # noqa: PTH116 - Path.stat, as fast, on the hot path
    except OSError:
        return None
    return found.st_dev, found.st_ino
