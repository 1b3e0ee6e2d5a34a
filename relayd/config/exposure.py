"""Whether a secret's file is open to users whom it must not be: everybody, and the producers.

Programs that hand over events share a group with relayd: the one that may write to the spool's
folder or to the socket. The shipped units make it relayd's own group, so a file `root:relayd`
with mode 0640 is fine as long as nobody else is in the group, or its folder keeps the others out.
"""

import os
import stat
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path

from relayd.config.reading import FileContent
from relayd.config.sections import QueueConfig, SocketConfig, SpoolConfig
from relayd.permissions import group_name, members_of, name_of


class Producers:
    """The groups through which programs hand over events, with the users that are in them.

    Without a `user`, relayd's own is unknown, as for a file that is named on the command line.
    """

    def __init__(
        self, groups: Iterable[int] = (), user: int | None = None, operator: int | None = None
    ) -> None:
        self._user = user
        self._operator = user if operator is None else operator
        self._candidates = frozenset(groups)

    @cached_property
    def groups(self) -> frozenset[int]:
        """The groups that have a user who is neither root nor relayd's own."""
        found = {group for group in self._candidates if members_of(group) - {0, self._user}}
        # In a user namespace (PrivateUsers=yes) every group that is not mapped looks like this one.
        return frozenset(found - {_overflow("gid")})

    def may_own(self, owner: int) -> bool:
        """Tell whether a secret's file may have this owner, who can always write it.

        Root, relayd's own user and the operator may, to whom the configuration belongs. Anybody may
        while relayd's user is unknown.
        """
        # In a user namespace (PrivateUsers=yes) root looks like the overflow user.
        return self._user is None or owner in {0, self._user, self._operator, _overflow("uid")}

    @property
    def right_owner(self) -> str:
        """The name of the user to whom a secret's file should belong."""
        return name_of(self._user or 0)

    def have(self, bits: int, mode: int, group: int) -> bool:
        """Tell whether a file's group gives the producers one of these rights (as `stat.S_IRGRP`)."""
        return bool(mode & bits) and group in self._candidates and group in self.groups

    def reach(self, path: Path) -> bool:
        """Tell whether the producers can pass through every folder above `path`."""
        try:
            found = [parent.stat() for parent in Path(os.path.realpath(path)).parents]
        except OSError:
            return False
        return all(
            each.st_mode & stat.S_IXOTH or self.have(stat.S_IXGRP, each.st_mode, each.st_gid)
            for each in found
        )


def producers_of(
    spools: Iterable[SpoolConfig],
    socket: SocketConfig | None,
    queue: QueueConfig,
    config_path: Path | None = None,
) -> Producers:
    """Return the producers of these sources, as the files are now. Blocks on the disk.

    The owner of the file at `config_path` is the operator.

    A spool that does not exist yet gives nobody access. A socket will have the group that the
    system gives it, so that a reload judges as the first start did.
    """
    found = [_stat(place) for spool in spools for place in (spool.path, spool.path.parent)]
    groups = {each.st_gid for each in found if each is not None and each.st_mode & stat.S_IWGRP}
    if socket is not None:
        groups.update(_socket_group(socket))
    # `sudo relayd check` looks with root's eyes: the queue's folder names relayd's user.
    folder = _stat(queue.path.parent)
    user = os.geteuid()
    file = None if config_path is None else _stat(config_path)
    return Producers(
        groups,
        folder.st_uid if user == 0 and folder is not None else user,
        None if file is None else file.st_uid,
    )


def _socket_group(socket: SocketConfig) -> Iterator[int]:
    """Yield the group that may write to the socket, where one may."""
    made, folder = _stat(socket.path), _stat(socket.path.parent)
    if made is not None:
        if made.st_mode & stat.S_IWGRP:
            yield made.st_gid
    elif socket.mode & stat.S_IWGRP and folder is not None:
        yield folder.st_gid if folder.st_mode & stat.S_ISGID else os.getegid()


def exposure(
    path: Path, content: FileContent, producers: Producers, *, public: bool = False
) -> tuple[str, str] | None:
    """Return how a secret's file is open to others, and the command that closes it, or None.

    What producers can write they can also replace with a secret of their own. A `public` file, such
    as a certificate, may be read by all.
    """
    mode, group = content.mode, content.group
    if mode & stat.S_IROTH and not public:
        return "may be read by everybody on this machine", f"chmod o= {path}"
    if mode & stat.S_IWOTH:
        return "may be written by everybody on this machine", f"chmod o-w {path}"
    if not producers.may_own(content.owner):
        return (
            f"belongs to user {name_of(content.owner)}, who can replace it",
            f"chown {producers.right_owner} {path} && chmod 0400 {path}",
        )
    rights = stat.S_IWGRP if public else stat.S_IRGRP | stat.S_IWGRP
    if producers.have(rights, mode, group) and producers.reach(path):
        can = "read" if mode & rights & stat.S_IRGRP else "written"
        return (
            f"may be {can} by the producers, who are in the group {group_name(group)}",
            f"chown {producers.right_owner} {path} && chmod 0400 {path}",
        )
    folders = dict.fromkeys((path.parent, Path(os.path.realpath(path)).parent))
    return next(filter(None, (_folder_exposure(each, producers) for each in folders)), None)


def _folder_exposure(folder: Path, producers: Producers) -> tuple[str, str] | None:
    found = _stat(folder)
    if found is None:
        return None
    if not producers.may_own(found.st_uid):
        return (
            f"is in a folder of user {name_of(found.st_uid)}, who can replace it",
            "move it to its own folder, such as /etc/relayd/secrets",
        )
    if found.st_mode & stat.S_ISVTX:
        return None
    if found.st_mode & stat.S_IWOTH:
        return "is in a folder in which everybody may write", f"chmod o-w {folder}"
    if producers.have(stat.S_IWGRP, found.st_mode, found.st_gid):
        name = group_name(found.st_gid)
        return (
            f"is in a folder in which the producers may write, who are in the group {name}",
            "move it to its own folder, such as /etc/relayd/secrets",
        )
    return None


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except (OSError, ValueError):
        return None


def _overflow(kind: str) -> int:
    try:
        return int(Path(f"/proc/sys/kernel/overflow{kind}").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 65_534
