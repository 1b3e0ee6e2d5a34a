"""A Unix socket that programs on this machine talk to: where it lives, who may use it, how many."""

import errno
import os
import socket
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import trio

from relayd.permissions import user_name

BACKLOG: Final = 4096
"""So many may connect before the first is accepted: a burst of short-lived producers, each with one
event. Beyond it they get EAGAIN. The kernel cuts it to net.core.somaxconn, which is 4096."""


class SocketPathError(Exception):
    """The socket cannot be made at its path; says why and what to do."""


def bind_unix(path: Path, mode: int) -> trio.SocketListener:
    """Listen at `path` with the file mode `mode`, as `bound_unix` does, on trio's loop."""
    return trio.SocketListener(trio.socket.from_stdlib_socket(bound_unix(path, mode)))


def bound_unix(path: Path, mode: int) -> socket.socket:
    """Listen at `path` with the file mode `mode`.

    What a killed process left at the path is removed; a socket that somebody answers on is not.
    Raises `SocketPathError`.
    """
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        # Nobody may connect before the mode is set; the process has one thread that makes files.
        previous = os.umask(0o177)
        try:
            listener.bind(str(path))
        finally:
            os.umask(previous)
        path.chmod(mode)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        raise SocketPathError(f"{path}: {_words(error, path)}") from error
    return listener


def passed_listener(path: Path, passed: Iterable[socket.socket]) -> trio.SocketListener | None:
    """Return a listener over the socket that the service manager opened at `path`, if it did.

    It is a copy: when it is closed, the socket goes on listening, and those who connect wait for
    the next process. Its file, with its mode and owner, is the service manager's.
    """
    for one in passed:
        address = one.getsockname()
        # /run and /var/run lead to the same socket.
        if isinstance(address, str) and os.path.realpath(address) == os.path.realpath(path):
            return trio.SocketListener(trio.socket.from_stdlib_socket(one.dup()))
    return None


def _words(error: OSError, path: Path) -> str:
    if not isinstance(error, PermissionError):
        return f"cannot listen there: {error.strerror}"
    return f"user {user_name()} may not make a socket in {path.parent}"


def _remove_stale(path: Path) -> None:
    try:
        kind = path.lstat().st_mode
    except OSError:
        return
    if not stat.S_ISSOCK(kind):
        raise SocketPathError(f"{path}: there is a file that is not a socket; move it away")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError as error:
            if error.errno in (errno.ECONNREFUSED, errno.ENOENT):
                path.unlink(missing_ok=True)
                return
            raise SocketPathError(f"{path}: {error.strerror}") from error
    raise SocketPathError(f"{path}: another program listens there")
