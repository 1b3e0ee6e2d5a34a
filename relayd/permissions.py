"""Who owns a path or a socket, and acting as that user: root never opens somebody else's files as root.

Where another user may write, root would follow that user's links, roll back that user's journals
and leave files that the user cannot open. So a command that root runs there becomes the owner.
"""

import grp
import json
import os
import pwd
import select
import signal
import socket
import stat
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

NOBODY: Final = 65534
"""The user without rights, as the kernel has it."""

_MOST_LINKS: Final = 40
_ALL_USERS: Final = 2**32 - 1
_ANSWER_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Identity:
    """A user to act as: its number, its group's, and those of all of its groups."""

    uid: int
    gid: int
    groups: tuple[int, ...]

    @property
    def name(self) -> str:
        """The user's name, or its number where it has none."""
        return name_of(self.uid)


class ActingError(Exception):
    """A child that acted as another user returned nothing; says why."""


def name_of(uid: int) -> str:
    """Return a user's name, or its number where it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def peer_uid(getsockopt: Callable[[int, int, int], bytes]) -> int:
    """Return the user of the process at the other end of a Unix socket, whose `getsockopt` this is.

    For one that listened, that is who listened.
    """
    uid: int = struct.unpack("iII", getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))[1]
    return uid


def group_name(gid: int) -> str:
    """Return a group's name, or its number where it has none."""
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def user_name() -> str:
    """Return the name of the user that this process runs as, or its number."""
    return name_of(os.geteuid())


def identity_of(uid: int, gid: int) -> Identity:
    """Return a user with its groups. `gid` is for a user that the system does not know."""
    try:
        entry = pwd.getpwuid(uid)
    except KeyError:
        return Identity(uid, gid, (gid,))
    return Identity(uid, entry.pw_gid, tuple(os.getgrouplist(entry.pw_name, entry.pw_gid)))


def relayds_user(queue: Path | None) -> int | None:
    """Return the number of relayd's user: this one, or, where root looks, the queue's.

    None where nobody is known to be it: root looks, and there is no queue and no folder of it.
    """
    user = os.geteuid()
    if user != 0:
        return user
    for path in () if queue is None else (queue, queue.parent):
        with suppress(OSError, ValueError):
            return path.stat().st_uid
    return None


def owner_to_become(path: Path, *, making: bool = False) -> Identity | None:
    """Return the user that root must become before it opens `path`, or None.

    It is the first user other than root who owns something on the way to it, links included, since
    that user decides what is found there. Where all of it is root's, and others may write in a
    folder on the way, it is `nobody` with the groups of what is there. With `making`, for a file that
    is made and must not be there, the last folder does not count. None for anyone but root.
    """
    if os.geteuid() != 0:
        return None
    steps = [step for _, step in steps_to(path)]
    for step in steps:
        if step.st_uid != 0:
            return identity_of(step.st_uid, step.st_gid)
    folders = [step for step in steps if stat.S_ISDIR(step.st_mode)]
    # The last folder decides what is beside the file, also where that is not there yet; those
    # above it, what is in them, unless only its owner may take that away (sticky).
    changeable = [each for each in folders[:-1] if not each.st_mode & stat.S_ISVTX]
    changeable += [] if making else folders[-1:]
    if not any(map(_is_open, changeable)):
        return None
    groups = tuple(sorted({each.st_gid for each in (folders[-1], steps[-1])} - {0})) or (NOBODY,)
    return Identity(NOBODY, groups[0], groups)


def _is_open(folder: os.stat_result) -> bool:
    """Tell whether somebody other than root may write in a folder of root's."""
    if folder.st_mode & stat.S_IWOTH:
        return True
    return bool(folder.st_mode & stat.S_IWGRP and members_of(folder.st_gid) - {0})


def members_of(gid: int) -> set[int]:
    """Return the users of a group: those whose own it is, and those who were added to it."""
    users = {each.pw_uid for each in pwd.getpwall() if each.pw_gid == gid}
    with suppress(KeyError):
        for name in grp.getgrgid(gid).gr_mem:
            with suppress(KeyError):
                users.add(pwd.getpwnam(name).pw_uid)
    return users


def unmapped_user() -> int | None:
    """Return the number that each user outside of this user namespace has here; None outside of one.

    With systemd's PrivateUsers=yes it is that of root, too.
    """
    try:
        rows = Path("/proc/self/uid_map").read_text(encoding="utf-8").splitlines()
        if any(int(row.split()[2]) >= _ALL_USERS for row in rows):
            return None
        return int(Path("/proc/sys/kernel/overflowuid").read_text(encoding="utf-8"))
    except (OSError, ValueError, IndexError):
        return None


def steps_to(path: Path) -> Iterator[tuple[str, os.stat_result]]:
    """Yield what stands on the way to a path, itself included, and links before where they lead."""
    # Not os.path.abspath: the kernel follows a link before it goes up from there.
    ahead = deque(path.absolute().parts[1:])
    here, links = "/", 0
    yield here, os.lstat(here)
    while ahead:
        part = ahead.popleft()
        if part == "..":
            here = os.path.dirname(here)  # noqa: PTH120 - a text throughout
            continue
        there = os.path.join(here, part)  # noqa: PTH118 - a text throughout
        try:
            found = os.lstat(there)
            target = os.readlink(there) if stat.S_ISLNK(found.st_mode) else None  # noqa: PTH115 - as above
        except OSError:
            return
        yield there, found
        if target is None:
            here = there
            continue
        links += 1
        if links > _MOST_LINKS:
            return
        if target.startswith("/"):
            here = "/"
        ahead.extendleft(reversed([each for each in target.split("/") if each not in ("", ".")]))


def become(identity: Identity) -> None:
    """Be another user from now on, and for good. Raises `OSError`."""
    os.setgroups(identity.groups)
    os.setresgid(identity.gid, identity.gid, identity.gid)
    os.setresuid(identity.uid, identity.uid, identity.uid)


@contextmanager
def acting_as(identity: Identity | None) -> Iterator[None]:
    """Act as another user towards files inside the block. Only for what parses no file.

    The process could go back by itself, so what reads another user's file belongs in `run_as`.
    """
    if identity is None:
        yield
        return
    before = os.geteuid(), os.getegid(), os.getgroups()
    os.setgroups(identity.groups)
    os.setegid(identity.gid)
    os.seteuid(identity.uid)
    try:
        yield
    finally:
        os.seteuid(before[0])
        os.setegid(before[1])
        os.setgroups(before[2])


def run_as(identity: Identity | None, function: Callable[[], Any], timeout_s: float) -> Any:  # noqa: ANN401 - JSON
    """Return what `function` returns, which must be JSON, called by a child that is another user.

    A file that crashes, or never ends, who reads it does so to the child. Without an identity it is
    called here. Raises `ActingError`.
    """
    if identity is None:
        return function()
    reading, writing = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        _answer(identity, function, writing)
    os.close(writing)
    try:
        raw = _read(reading, time.monotonic() + timeout_s)
        if raw is None:
            raise ActingError(f"reading it took longer than {timeout_s:g} s")
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    try:
        return json.loads(raw)
    except ValueError:
        raise ActingError(f"the process that read it as user {identity.name} ended") from None


def _answer(identity: Identity, function: Callable[[], Any], writing: int) -> None:
    """In the child: answer, and end without anything of the parent's being run."""
    try:
        become(identity)
        with os.fdopen(writing, "wb") as file:
            file.write(json.dumps(function()).encode())
    finally:
        os._exit(0)


def _read(descriptor: int, deadline: float) -> bytes | None:
    """Return all that is written until the other end closes; None where that takes too long."""
    raw = b""
    while len(raw) <= _ANSWER_BYTES:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([descriptor], [], [], left)[0]:
            return None
        piece = os.read(descriptor, 65_536)
        if not piece:
            return raw
        raw += piece
    return b""
