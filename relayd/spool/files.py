"""What a spool needs of its folder and files, and how to look into one without leaving any behind.

Whoever is the first to open a SQLite file makes its -wal and -shm, or its -journal. They take the
file's mode, but belong to that user, and to that user's group unless the folder gives them its own
(setgid). So relayd and the producers share a spool only in a folder with setgid.
"""

import errno
import os
import shlex
import sqlite3
import stat
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Final

from relayd.core.queue_files import sqlite_files, sqlite_uri
from relayd.file_identity import not_a_file
from relayd.permissions import NOBODY, group_name, identity_of, members_of, name_of, user_name
from relayd.spool.super_journal import SuperJournalError, check_journal

_BOTH: Final = 0o6
_GROUP: Final = _BOTH << 3
_SHARED_FOLDER: Final = 0o2070
_ALL_USERS: Final = "4294967295"  # as /proc/self/uid_map counts them
_STEPS_BETWEEN_LOOKS: Final = 10_000  # of SQLite's virtual machine: some milliseconds


class SpoolBarredError(Exception):
    """The spool must not be opened by this user; says why, and what to do."""


def spool_problem(path: Path) -> str | None:
    """Return why a command must not open the spool at `path` to write, or None.

    It is `access_problem`, and a journal that would have SQLite delete a file.
    """
    return access_problem(path) or _journal_problem(Path(os.path.realpath(path)))


def missing_words(path: Path) -> str:
    """Say that a spool is not there, and what makes it."""
    return (
        f"{path} is not there; `relayd spool create {shlex.quote(str(path))}` makes it, or where it is"
        " your application's database, its migrations: `relayd spool sql` prints the table for them"
    )


def access_problem(path: Path) -> str | None:
    """Return why this user must not open the spool at `path` to write, or None. Opens nothing.

    A spool that is not there is not a problem here. Blocks on the disk.
    """
    real = Path(os.path.realpath(path))
    link = _link_of_another(path)
    return _not_a_file(real) or _barred(real, link) or _unshared(real, link)


def barred_places(path: Path) -> list[str]:
    """Return what keeps this user out of a spool: a folder above it, its own, or its files.

    `path` is a real path. Also right in a confined process, which cannot look up names.
    """
    for folder in reversed(path.parents):
        needed = os.X_OK | (os.R_OK | os.W_OK if folder == path.parent else 0)
        if not os.access(folder, needed):
            return [str(folder)] if os.path.lexists(folder) else []
    return [
        each
        for each in sqlite_files(str(path))
        if os.access(each, os.F_OK) and not os.access(each, os.R_OK | os.W_OK)
    ]


def _not_a_file(path: Path) -> str | None:
    try:
        path.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            return f"{path} is a link that leads back to itself; remove it"
    return not_a_file(sqlite_files(str(path)))


def _journal_problem(path: Path) -> str | None:
    try:
        # A command is not confined, and rolls back as its user.
        check_journal(path, confined=False)
    except SuperJournalError as problem:
        return str(problem)
    return None


def _barred(path: Path, link: Path | None) -> str | None:
    """Say what keeps this user out, and what to do."""
    barred = barred_places(path)
    if not barred:
        return None
    above = len(barred) == 1 and Path(barred[0]) in path.parent.parents
    # SQLite would open what it may only read, and make files beside it that then keep the
    # producers out.
    words = (
        f"user {user_name()} may not write to {', '.join(barred)}: relayd and the producers need a"
        f" group in common, which may write to {path} and in {path.parent}, and the folder must give"
        f" it to its files (chmod g+rwxs){'' if above else _fix(path, link)}"
    )
    if _is_read_only(barred[0]):
        words += f"; it is read-only here: under systemd, ReadWritePaths= must name {path.parent}"
    return words


def _is_read_only(place: str) -> bool:
    try:
        return bool(os.statvfs(place).f_flag & os.ST_RDONLY)
    except OSError:
        return False


def _unshared(path: Path, link: Path | None) -> str | None:
    """Say why files that SQLite makes beside a spool would keep its other users out."""
    try:
        file, folder = path.stat(), _folder(path).stat()
    except OSError:
        return None
    # SQLite gives them to the file's owner when root makes them. An access list of the folder's
    # own decides about groups in place of its mode.
    if os.geteuid() == 0 or file.st_mode & _BOTH == _BOTH or _has_default_acl(_folder(path)):
        return None
    makers = _makers(file, folder)
    group = folder.st_gid if folder.st_mode & stat.S_ISGID else file.st_gid
    if len(makers) <= 1 or not _commands(path, group):
        return None
    others = ", ".join(f"user {name_of(uid)}" for uid in sorted(makers - {os.geteuid()}))
    return (
        f"SQLite's files beside {path} would belong to the user who makes them, and keep the others"
        f" out (user {user_name()}, {others}){_fix(path, link, group)}"
    )


def _makers(file: os.stat_result, folder: os.stat_result) -> set[int]:
    """Return the users other than root who may open the spool, and so make files beside it."""
    makers = {os.geteuid(), file.st_uid}
    if file.st_mode & _GROUP == _GROUP and folder.st_mode & stat.S_IWGRP:
        makers |= _members(folder.st_gid) & _members(file.st_gid)
    return makers - {0}


def _fix(path: Path, link: Path | None, group: int | None = None) -> str:
    """Return, behind a colon, the command that lets this user and the spool's owner share it."""
    if link is not None:
        # Its owner decides what the command would give away.
        return f"; {link} is a link to {os.path.realpath(link)}"
    if _are_names_hidden(path):
        return ": `sudo relayd check` says which command does that"
    if group is None:
        try:
            folder = _folder(path).stat()
        except OSError:
            return ""
        shared = folder.st_mode & _SHARED_FOLDER == _SHARED_FOLDER
        group = folder.st_gid if shared or os.geteuid() in _members(folder.st_gid) else os.getegid()
    if commands := _commands(path, group):
        return f": `{' && '.join(f'sudo {each}' for each in commands)}`"
    return f": log in again, or restart it, for group {group_name(group)} to count"


def _link_of_another(path: Path) -> Path | None:
    """Return a link on the way to the spool that is not root's, if there is one."""
    for each in (path, *path.parents):
        with suppress(OSError):
            found = each.lstat()
            if stat.S_ISLNK(found.st_mode) and found.st_uid != 0:
                return each
    return None


def _are_names_hidden(path: Path) -> bool:
    """Tell whether a user namespace hides whose the spool is, as systemd's PrivateUsers= does."""
    owners = set[int]()
    for each in (str(_folder(path)), *sqlite_files(str(path))):
        with suppress(OSError):
            found = os.stat(each)  # noqa: PTH116 - a text
            owners |= {found.st_uid, found.st_gid}
    if NOBODY not in owners:
        return False
    try:
        first, outside, count = Path("/proc/self/uid_map").read_text().split()
    except (OSError, ValueError):
        return True
    return (first, outside, count) != ("0", "0", _ALL_USERS)


def _commands(path: Path, group: int) -> list[str]:
    """Return the commands after which a group's users share the spool; none where they do."""
    folder = _folder(path)
    name, above = group_name(group), folder.stat()
    commands = []
    if above.st_gid != group:
        commands.append(f"chgrp {name} {shlex.quote(str(folder))}")
    if above.st_mode & _SHARED_FOLDER != _SHARED_FOLDER:
        commands.append(f"chmod g+rwxs {shlex.quote(str(folder))}")
    users = {os.geteuid()}
    for each in sqlite_files(str(path)):
        try:
            found = os.stat(each)  # noqa: PTH116 - a text
        except OSError:
            continue
        users.add(found.st_uid)
        if found.st_gid != group:
            commands.append(f"chgrp {name} {shlex.quote(each)}")
        if found.st_mode & _GROUP != _GROUP:
            commands.append(f"chmod g+rw {shlex.quote(each)}")
    # A user that the system does not know, as in a container, may be in any group.
    outside = sorted(
        name_of(uid)
        for uid in users - _members(group) - {0}
        if group not in identity_of(uid, group).groups
    )
    return commands + [f"usermod -aG {name} {each}" for each in outside]


def _folder(path: Path) -> Path:
    # SQLite keeps them beside the file that a link leads to.
    return Path(os.path.realpath(path)).parent


def _members(gid: int) -> set[int]:
    """Return the users of a group, this one as it is in this process."""
    mine = {os.geteuid()} if gid in {os.getegid(), *os.getgroups()} else set()
    return members_of(gid) | mine


def _has_default_acl(folder: Path) -> bool:
    try:
        return "system.posix_acl_default" in os.listxattr(folder)
    except OSError:
        return False


@contextmanager
def looking_into(
    path: Path, busy_timeout_s: float, within_s: float
) -> Iterator[sqlite3.Connection]:
    """Open a spool to read from, so that no file comes into being and none is changed.

    Statements end with an error after `within_s`. Raises `SpoolBarredError`, `OSError` and
    `sqlite3.Error`.
    """
    # SQLite keeps -wal and -journal beside the file that a link leads to.
    path = Path(os.path.realpath(path))
    if problem := _not_a_file(path) or _journal_problem(path):
        raise SpoolBarredError(problem)
    with closing(
        sqlite3.connect(_looking_uri(path), uri=True, timeout=busy_timeout_s, isolation_level=None)
    ) as db:
        limit_statements(db, within_s)
        yield db


def limit_statements(db: sqlite3.Connection, within_s: float) -> None:
    """Interrupt what runs on a connection later than `within_s` from now."""
    deadline = time.monotonic() + within_s
    db.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS_BETWEEN_LOOKS)


def _header(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    try:
        return os.read(descriptor, 20)
    finally:
        os.close(descriptor)


def _looking_uri(path: Path) -> str:
    header = _header(path)
    # Bytes 18 and 19: 2 for WAL (SQLite's file format, 1.3.3).
    if header[18:20] != b"\2\2":
        return sqlite_uri(str(path), "ro")
    if not os.path.exists(f"{path}-wal"):  # noqa: PTH110 - Path.exists raises where it may not look
        # Nobody uses it. Opened in any other way, -wal and -shm would come into being.
        return sqlite_uri(str(path), "ro", immutable=True)
    if not os.path.exists(f"{path}-shm") and (problem := _unshared(path, _link_of_another(path))):  # noqa: PTH110 - as above
        raise SpoolBarredError(problem)
    return sqlite_uri(str(path), "ro")
