"""Writes an included file, or takes one away: whole or not at all, and never over another one.

What is under way has a name that begins with a dot, which is never included. Where a process is killed
meanwhile, such a file may stay; the next one that writes there removes it.
"""

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from hashlib import sha256
from pathlib import Path
from typing import Final

_PREFIX: Final = ".relayd-"
_TURN_S: Final = 10.0
_LEFT_S: Final = 3600.0
_NO_LINKS: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK})
_LARGEST: Final = 4 * 1024 * 1024


class ChangedMeanwhileError(Exception):
    """A file is not what it was."""


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Keep other commands from writing there meanwhile. Raises `OSError`, also where one takes long.

    Whoever may read the folder can hold its lock.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        until = time.monotonic() + _TURN_S
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= until:
                    reason = "another program holds its lock"
                    raise OSError(errno.EBUSY, reason, str(folder)) from None
                time.sleep(0.05)
        yield
    finally:
        os.close(descriptor)


def write_new(path: Path, raw: bytes) -> None:
    """Write a file for its owner alone, durably. Blocks on the disk.

    Raises `OSError`, and `FileExistsError` where one is there: then nothing was changed.
    """
    with _folder(path) as folder:
        _remove_left(folder)
        temporary = _dotted()
        try:
            _write(temporary, raw, folder)
            _move(temporary, path.name, folder)
        except BaseException:
            with suppress(FileNotFoundError):
                os.unlink(temporary, dir_fd=folder)
            raise
        with _undone_by(lambda: os.unlink(path.name, dir_fd=folder)):
            os.fsync(folder)


def read_whole(path: Path) -> bytes:
    """Return what is in a file. Raises `OSError`."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    with os.fdopen(descriptor, "rb") as file:
        return file.read(_LARGEST)


def set_aside(path: Path) -> Path:
    """Rename a file so that it is not included; return what it is now. Raises `OSError`."""
    with _folder(path) as folder:
        _remove_left(folder)
        aside = _dotted()
        os.utime(path.name, dir_fd=folder)  # what is old is removed
        os.rename(path.name, aside, src_dir_fd=folder, dst_dir_fd=folder)
        with _undone_by(lambda: _move(aside, path.name, folder)):
            os.fsync(folder)
    return path.parent / aside


def put_in_place(path: Path, raw: bytes, digest: bytes) -> Path:
    """Write a file in place of the one that is there, durably; return what that one is now.

    There is one of that name at each moment, also where the process is killed. Raises `OSError`, and
    `ChangedMeanwhileError` where what is there has another SHA-256: then nothing was changed.
    """
    with _folder(path) as folder:
        _remove_left(folder)
        aside, temporary = _dotted(), _dotted()
        try:
            _write(temporary, raw, folder)
            _copy(path.name, aside, folder)
            _check(path.parent / aside, digest)
            os.rename(temporary, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        except BaseException:
            for each in (temporary, aside):
                with suppress(FileNotFoundError):
                    os.unlink(each, dir_fd=folder)
            raise
        with _undone_by(lambda: os.rename(aside, path.name, src_dir_fd=folder, dst_dir_fd=folder)):
            os.fsync(folder)
    return path.parent / aside


def put_again(aside: Path, path: Path) -> None:
    """Undo `put_in_place`. Raises `OSError`."""
    with _folder(path) as folder:
        os.rename(aside.name, path.name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)


def put_back(aside: Path, path: Path) -> None:
    """Undo `set_aside`. Raises `OSError`."""
    with _folder(path) as folder:
        _move(aside.name, path.name, folder)
        os.fsync(folder)


def remove(path: Path) -> None:
    """Remove a file durably; nothing where it has gone. Raises `OSError`."""
    with _folder(path) as folder:
        with suppress(FileNotFoundError):
            os.unlink(path.name, dir_fd=folder)
        os.fsync(folder)


@contextmanager
def _folder(path: Path) -> Iterator[int]:
    # By this descriptor alone: nothing is written anywhere else, whatever is renamed meanwhile.
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@contextmanager
def _undone_by(undo: Callable[[], None]) -> Iterator[None]:
    """Undo what has happened already where it cannot be made durable: whoever asked hears that nothing has."""
    try:
        yield
    except OSError:
        with suppress(OSError):
            undo()
        raise


def _write(name: str, raw: bytes, folder: int) -> None:
    descriptor = os.open(
        name,
        os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW,
        0o600,
        dir_fd=folder,
    )
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(descriptor, 0o600)
        file.write(raw)
        file.flush()
        os.fsync(descriptor)


def _check(path: Path, digest: bytes) -> None:
    if sha256(read_whole(path)).digest() != digest:
        raise ChangedMeanwhileError


def _copy(name: str, copy: str, folder: int) -> None:
    """Give a file a second name; where the file system has no links, copy it."""
    os.utime(name, dir_fd=folder)  # what is old is removed
    try:
        os.link(name, copy, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        descriptor = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW, dir_fd=folder)
        with os.fdopen(descriptor, "rb") as file:
            _write(copy, file.read(_LARGEST), folder)


def _move(old: str, new: str, folder: int) -> None:
    """Rename a file, and never over another one: a rename would replace it."""
    try:
        os.link(old, new, src_dir_fd=folder, dst_dir_fd=folder, follow_symlinks=False)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without links: what others write in this moment may be lost.
        with suppress(FileNotFoundError):
            os.stat(new, dir_fd=folder, follow_symlinks=False)
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), new) from None
        os.rename(old, new, src_dir_fd=folder, dst_dir_fd=folder)
        return
    os.unlink(old, dir_fd=folder)


def _dotted() -> str:
    return f"{_PREFIX}{secrets.token_hex(8)}"


def _remove_left(folder: int) -> None:
    """Remove what a killed process left an hour ago or longer."""
    with os.scandir(folder) as entries:
        names = [each.name for each in entries if each.name.startswith(_PREFIX)]
    for name in names:
        with suppress(OSError):
            if os.stat(name, dir_fd=folder, follow_symlinks=False).st_mtime < time.time() - _LEFT_S:
                os.unlink(name, dir_fd=folder)
