"""Takes from a helper process what it does not need: Landlock, resource limits, no new privileges.

Landlock (Linux 5.13, landlock(7)) lets a reader open files in its spool's real folder only, and
/dev/urandom; what renders templates has no folder. Whatever this system knows beyond that is taken too: TCP, abstract Unix sockets and
signals to other processes.
"""

import ctypes
import errno
import os
import resource
import signal
import struct
from pathlib import Path
from typing import Final

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG: Final = 1
_PATH_BENEATH: Final = 1
_NO_NEW_PRIVILEGES, _DEATH_SIGNAL, _SET_NAME = 38, 1, 15

_WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 1, 1 << 2, 1 << 3
_REMOVE_FILE, _MAKE_REG = 1 << 5, 1 << 8
_TRUNCATE: Final = 1 << 14
_FILE_RIGHTS: Final = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 5: (1 << 16) - 1}
"""All rights about files that each version of Landlock's interface knows."""
_TCP: Final = 0b11
_SCOPES: Final = 0b11
_SPOOL: Final = _WRITE_FILE | _READ_FILE | _READ_DIR | _REMOVE_FILE | _MAKE_REG | _TRUNCATE

_MEMORY_BYTES: Final = 256 * 1024 * 1024
_OPEN_FILES: Final = 64

_libc: Final = ctypes.CDLL(None, use_errno=True)


class UnconfinedError(Exception):
    """The system does not let a process confine itself; says why."""


def confine(folder: Path | None) -> None:
    """Let this process open files beneath `folder` only, or nowhere, for good.

    Raises `UnconfinedError` when the kernel or a container's filter refuses Landlock, and `OSError`
    when `folder` cannot be opened.
    """
    _prctl(_NO_NEW_PRIVILEGES, 1)
    version = _landlock(_CREATE_RULESET, None, 0, _VERSION_FLAG)
    files = _FILE_RIGHTS[max(known for known in _FILE_RIGHTS if known <= version)]
    attributes = struct.pack(
        "=QQQ", files, _TCP if version >= 4 else 0, _SCOPES if version >= 6 else 0
    )
    # An older kernel refuses a longer structure unless the rest is zero: then it is.
    size = 24 if version >= 6 else 16 if version >= 4 else 8
    ruleset = _landlock(_CREATE_RULESET, attributes, size, 0)
    try:
        if folder is not None:
            _allow(ruleset, folder, _SPOOL & files)
        _allow(ruleset, Path("/dev/urandom"), _READ_FILE)
        _landlock(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def limit() -> None:
    """Bound this process's memory and open files, and let it start no process and leave no core."""
    memory = _address_space() + _MEMORY_BYTES
    for what, most in (
        (resource.RLIMIT_AS, memory),
        (resource.RLIMIT_NOFILE, _OPEN_FILES),
        (resource.RLIMIT_NPROC, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        _, hard = resource.getrlimit(what)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the one that made it ends; at once if it has."""
    _prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)


def name_process(name: str) -> None:
    """Set the name that `ps` and `top` show, of at most 15 bytes."""
    _prctl(_SET_NAME, ctypes.c_char_p(name.encode()[:15]))


def _allow(ruleset: int, path: Path, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        rule = struct.pack("=Qi", rights, descriptor)
        _landlock(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0)
    finally:
        os.close(descriptor)


def _landlock(number: int, *arguments: object) -> int:
    result = int(_libc.syscall(ctypes.c_long(number), *map(_argument, arguments)))
    if result >= 0:
        return result
    code = ctypes.get_errno()
    reason = {
        errno.ENOSYS: "this kernel does not know Landlock",
        errno.EOPNOTSUPP: "Landlock is off in this kernel",
        errno.EPERM: "a system call filter refuses Landlock",
    }.get(code, os.strerror(code))
    raise UnconfinedError(reason)


def _argument(value: object) -> object:
    if isinstance(value, bytes):
        return ctypes.c_char_p(value)
    return ctypes.c_void_p(None) if value is None else ctypes.c_long(int(str(value)))


def _prctl(option: int, value: object) -> None:
    argument = value if isinstance(value, ctypes.c_char_p) else ctypes.c_ulong(int(str(value)))
    zero = ctypes.c_ulong(0)
    if _libc.prctl(option, argument, zero, zero, zero) != 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def _address_space() -> int:
    pages = Path("/proc/self/statm").read_text().split()[0]
    return int(pages) * resource.getpagesize()
