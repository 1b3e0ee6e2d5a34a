"""The files that `include:` names: which they are, and whether others could write or replace them.

A pattern's folder is fixed: wildcards stand in the file's name alone. Names that begin with a dot are
skipped, so that a file can be written under such a name and renamed. A file counts only where root and
relayd's user alone decide what is in it.
"""

import os
import re
import shlex
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import translate
from pathlib import Path
from typing import Final

from relayd.config.reading import FileContent, Unreadable, absolute, read_file
from relayd.permissions import (
    acting_as,
    members_of,
    name_of,
    owner_to_become,
    steps_to,
    unmapped_user,
    user_name,
)

MOST_FILES: Final = 10_000
MOST_NAMES: Final = 50_000
"""Names in the folders of all patterns together, whether they match or not. A folder counts once for each
pattern: it is read as often."""

WILDCARDS: Final = re.compile(r"[*?\[]")


@dataclass(frozen=True, slots=True)
class NotIncluded:
    """Why a file, or a folder of such files, cannot be used, and what would be right."""

    path: Path
    message: str
    hint: str = ""


def pattern_problem(pattern: str) -> tuple[str, str] | None:
    """Return what is wrong with a pattern, and what would be right; None where nothing is."""
    folder, name = os.path.split(pattern)
    if not name:
        return "names a folder", f"write `{pattern}*.yaml`"
    if name.startswith("."):
        return "names a file that begins with a dot, and such files are skipped", "rename it"
    if WILDCARDS.search(folder):
        return (
            "has a wildcard in the name of a folder",
            "name each folder, as [one.d/*.yaml, other.d/*.yaml]",
        )
    return None


def files_of(patterns: Iterable[str], directory: Path) -> Iterator[Path | NotIncluded]:
    """Yield the files that the patterns match, each pattern's in the order of their names.

    Relative patterns are taken from `directory`. A file that several match is yielded once. Blocks
    on the disk.
    """
    seen: set[str] = set()
    left = MOST_NAMES
    for pattern in patterns:
        if pattern_problem(pattern) is not None:
            continue  # an error of the key
        # As it is opened: `..` behind a link leads elsewhere for the kernel than in the text.
        path = absolute(directory / pattern)
        try:
            names, looked_at = _names(path, left)
        except _TooManyNamesError:
            yield NotIncluded(
                path.parent, f"more than {MOST_NAMES:,} names are in the folders that are included"
            )
            return
        except OSError as error:
            reason = f"cannot be listed by user {user_name()}: {error.strerror}"
            yield NotIncluded(path.parent, reason)
            continue
        left -= looked_at
        for name in names:
            found = path.parent / name
            real = os.path.realpath(found)
            if real in seen:
                continue
            seen.add(real)
            if len(seen) > MOST_FILES:
                yield NotIncluded(path, f"more than {MOST_FILES:,} files are included")
                return
            yield found


class _TooManyNamesError(Exception):
    """There are more names than may still be looked at."""


def _names(path: Path, most: int) -> tuple[list[str], int]:
    """Return the names that match, sorted, and how many were looked at, `most` of them at most."""
    if not WILDCARDS.search(path.name):
        if most < 1:
            raise _TooManyNamesError
        return [path.name] if os.path.lexists(path) else [], 1
    matches = re.compile(translate(path.name)).match
    found: list[str] = []
    count = 0
    try:
        with os.scandir(path.parent) as entries:
            for entry in entries:
                count += 1
                if count > most:
                    raise _TooManyNamesError
                if not entry.name.startswith(".") and matches(entry.name):
                    found.append(entry.name)
    except FileNotFoundError:
        return [], 1
    return sorted(found), max(count, 1)


@dataclass(slots=True)
class IncludedReader:
    """Reads included files of which root and relayd's user alone decide what is in them.

    What stands on the way to the configuration at `config_path` is not judged again: who may change
    that decides already what relayd does. `relayds_user` is None where it is not known.
    """

    config_path: Path
    relayds_user: int | None
    _trusted: frozenset[int] = field(init=False)
    _known: frozenset[tuple[int, int]] = field(init=False)
    _folders: dict[str, NotIncluded | None] = field(init=False, default_factory=dict)
    _groups: dict[int, set[int]] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        users = {0, self.relayds_user, unmapped_user()} - {None}
        self._trusted = frozenset(each for each in users if each is not None)
        self._known = frozenset(
            (each.st_dev, each.st_ino) for _, each in steps_to(self.config_path.parent)
        )

    def read(self, path: Path, most: int) -> FileContent | NotIncluded:
        """Return what is in a file, up to one byte more than `most`, or why it does not count."""
        problem = self._way_problem(path) or self._before_opening(path)
        if problem is not None:
            return problem
        # A link in another user's folder may lead to what only root may read.
        with acting_as(owner_to_become(path)):
            content = read_file(absolute(path), most)
        if isinstance(content, Unreadable):
            hint = f"write {path}/*.yaml" if os.path.isdir(path) else ""  # noqa: PTH112 - Path.is_dir raises where it may not look
            return NotIncluded(path, content.reason, hint)
        problem = self._file_problem(path, content.owner, content.group, content.mode)
        return problem or content

    def _before_opening(self, path: Path) -> NotIncluded | None:
        """Return what is wrong with the file as it is found, which may be another one by now."""
        try:
            found = path.stat()
        except OSError:
            return None  # opening it fails in the same way
        if not stat.S_ISREG(found.st_mode):
            return None  # and is not read
        return self._file_problem(path, found.st_uid, found.st_gid, stat.S_IMODE(found.st_mode))

    def _file_problem(self, path: Path, owner: int, group: int, mode: int) -> NotIncluded | None:
        if owner not in self._trusted:
            return NotIncluded(
                path,
                f"belongs to user {name_of(owner)}, and must belong to {self._right()}",
                f"chown {self._owner()} {quoted(path)}",
            )
        writers = self._writers(mode, group)
        if writers is not None:
            return NotIncluded(path, f"may be written by {writers}", f"chmod go-w {quoted(path)}")
        return None

    def place_problem(self, path: Path) -> NotIncluded | None:
        """Return why a file that is not there yet would not count, or None."""
        if not os.path.lexists(path.parent):
            made = command_to_make(path.parent, self.relayds_user)
            return NotIncluded(path, f"the folder {path.parent} does not exist", made)
        return self._way_problem(path)

    def _way_problem(self, path: Path) -> NotIncluded | None:
        """Return what is wrong with a folder on the way, the way of a link included."""
        if os.path.islink(path):  # noqa: PTH114 - as above
            return self._on_the_way(path.absolute())
        folder = str(path.parent)
        if folder not in self._folders:
            self._folders[folder] = self._on_the_way(path.absolute())
        found = self._folders[folder]
        return None if found is None else NotIncluded(path, found.message, found.hint)

    def _on_the_way(self, path: Path) -> NotIncluded | None:
        folders = {str(path.parent), os.path.dirname(os.path.realpath(path))}  # noqa: PTH120 - a text
        for there, status in steps_to(path):
            # In a sticky folder, whoever made a link may make another one in its place.
            if stat.S_ISLNK(status.st_mode) and status.st_uid not in self._trusted:
                return NotIncluded(
                    path,
                    f"could be replaced by user {name_of(status.st_uid)}, to whom the link {there}"
                    " belongs",
                    f"chown -h {self._owner()} {quoted(there)}",
                )
            if not stat.S_ISDIR(status.st_mode) or (status.st_dev, status.st_ino) in self._known:
                continue
            if status.st_uid not in self._trusted:
                return NotIncluded(
                    path,
                    f"could be replaced by user {name_of(status.st_uid)}, to whom {there} belongs",
                    f"chown {self._owner()} {quoted(there)}",
                )
            # There others may add files, though they may not replace one.
            if status.st_mode & stat.S_ISVTX and there not in folders:
                continue
            writers = self._writers(status.st_mode, status.st_gid)
            if writers is not None:
                return NotIncluded(
                    path,
                    f"could be replaced by {writers}, who may write in {there}",
                    f"chmod go-w {quoted(there)}",
                )
        return None

    def _writers(self, mode: int, group: int) -> str | None:
        """Return who else may write what has this mode and group, or None."""
        if mode & stat.S_IWOTH:
            return "everybody on this machine"
        if not mode & stat.S_IWGRP:
            return None
        if group not in self._groups:
            self._groups[group] = members_of(group)
        others = sorted(self._groups[group] - self._trusted)
        return f"user {name_of(others[0])}, by its group" if others else None

    def _right(self) -> str:
        names = ["root", *([] if self.relayds_user in {None, 0} else [self._owner()])]
        return " or ".join(names)

    def _owner(self) -> str:
        return name_of(self.relayds_user or 0)


def quoted(path: Path | str) -> str:
    """Return a path as a shell takes it."""
    return shlex.quote(str(path))


def command_to_make(folder: Path, user: int | None) -> str:
    """Return the command that makes a folder for relayd's user."""
    if user is None or user == os.geteuid():
        return f"mkdir -m 0700 {quoted(folder)}"
    return f"install -d -m 0700 -o {name_of(user)} {quoted(folder)}"


def without_match(path: Path, user: int | None) -> str | None:
    """Return what a pattern that matches nothing may be a mistake for, or None."""
    if not os.path.isdir(path.parent):  # noqa: PTH112 - as above
        made = command_to_make(path.parent, user)
        return f"include needs the directory {path.parent}, which does not exist ({made})"
    if not WILDCARDS.search(path.name) and not os.path.lexists(path):
        return f"include names the file {path}, which does not exist"
    return None


def file_for(name: str, patterns: Sequence[str], directory: Path) -> Path | None:
    """Return the file that a subscription of this name would be written to, so that it is included.

    None where no pattern leaves the file's name open.
    """
    for pattern in patterns:
        if pattern_problem(pattern) is not None:
            continue
        path = absolute(directory / pattern)
        last = path.name
        if last.count("*") == 1 and not re.search(r"[?\[]", last):
            return path.parent / last.replace("*", name)
        candidate = f"{name}.yaml"
        if WILDCARDS.search(last) and re.match(translate(last), candidate):
            return path.parent / candidate
    return None
