"""Collects what is wrong in one file, with its places, while the checks go on."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from relayd.config.problem import KeyPath, Problem, dotted, in_one_line
from relayd.config.yaml_nodes import Document, Fault

SECRET_KEYS: Final = frozenset(
    {"secret", "previous_secret", "url", "token", "read_token", "feed_token", "password"}
)
"""Keys whose value is a secret, or may be one: a text, or the source to read it from."""
SECRET_SOURCES: Final = frozenset({"file", "env", "credential"})
LONGEST_TEXT: Final = 400
"""Characters of a message: a name from the file in it may be of any length."""
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


class Findings:
    """The errors and warnings of one file. A place that is bad is complained of once."""

    def __init__(self, file: str, document: Document) -> None:
        self.errors = [fault_problem(file, fault) for fault in document.faults]
        self.warnings: list[Problem] = []
        self.included: dict[str, Path] = {}
        """The included file in which a subscription is, by its name: an absolute path."""
        self.readable_by_all = False
        self.incomplete = False
        """Whether something that the file includes could not be read, so that subscriptions miss."""
        self._names: dict[str, str] = {}
        self._open: dict[str, str] = {}
        self._file = file
        self._root = document.root
        self._bad: set[KeyPath] = set()
        self._around_bad: set[KeyPath] = set()
        for fault in document.faults:
            self._mark(fault.path)

    def error(self, path: KeyPath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note an error in the value at `path`, or in its key; nothing if it is bad already."""
        if self.is_bad(path):
            return
        self._mark(path)
        self.errors.append(self._problem(path, message, hint, at_key=at_key))

    def warning(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Note what is doubtful about the value at `path`."""
        self.warnings.append(self._problem(path, message, hint, at_key=False))

    def include(self, name: str, path: Path, file: str, *, by_all: bool) -> None:
        """Note that a subscription is in the included file at `path`, shown as `file`."""
        self.included[name] = Path(os.path.abspath(path))  # noqa: PTH100 - as config.load has it
        self._names[name] = file
        if by_all:
            self._open[name] = file

    def miss(self, problem: Problem) -> None:
        """Note an error for which all that an included file says is missing."""
        self.incomplete = True
        self.errors.append(problem)

    def note_faults(self, file: str, faults: Iterable[Fault]) -> None:
        """Note what is wrong with single keys and values in the YAML of an included file."""
        for fault in faults:
            self.errors.append(fault_problem(file, fault))
            # What else there is, is in no one else's place.
            if len(fault.path) > 1 and fault.path[0] == "subscriptions":
                self._mark(fault.path)

    def open_file(self, name: str) -> str | None:
        """Return the file in which a subscription is, where everybody may read it, or None."""
        if name in self._names:
            return self._open.get(name)
        return self.main_file_if_open

    @property
    def main_file_if_open(self) -> str | None:
        """The file itself, where everybody may read it, or None."""
        return self._file if self.readable_by_all else None

    def is_bad(self, path: KeyPath) -> bool:
        """Tell whether the value at `path`, or one that it is part of, is bad."""
        return any(path[:length] in self._bad for length in range(len(path) + 1))

    def is_doubtful(self, path: KeyPath) -> bool:
        """Tell whether the value at `path`, or one around it or within it, is bad."""
        return path in self._around_bad or self.is_bad(path)

    def value(self, path: KeyPath) -> object:
        """Return the data at `path`, None if there is none. It may be a secret."""
        node = self._root
        for part in path:
            child = node.children.get(part)
            if child is None:
                return None
            node = child
        return node.data

    def whole_place(self, path: KeyPath) -> str:
        """Return `config.yaml:12:3`, the place of a key."""
        place = self._root.place_of_key(path)
        return f"{self._file_of(path)}:{place.line}:{place.column}"

    def place_words(self, path: KeyPath) -> str:
        """Return `subscriptions.shop, line 12`, to name another place in a message.

        With the file, and the column, where there are several.
        """
        if self._names:
            return f"{dotted(shown_path(path))}, {self.whole_place(path)}"
        return f"{dotted(shown_path(path))}, line {self._root.place_of_key(path).line}"

    def _file_of(self, path: KeyPath) -> str:
        if len(path) > 1 and path[0] == "subscriptions":
            return self._names.get(str(path[1]), self._file)
        return self._file

    def _mark(self, path: KeyPath) -> None:
        self._bad.add(path)
        self._around_bad.update(path[:length] for length in range(len(path)))

    def _problem(self, path: KeyPath, message: str, hint: str, *, at_key: bool) -> Problem:
        place = (self._root.place_of_key if at_key else self._root.place_of)(path)
        return Problem(
            self._file_of(path),
            place.line,
            place.column,
            dotted(shown_path(path)),
            in_one_line(message, LONGEST_TEXT),
            in_one_line(hint, LONGEST_TEXT),
        )


def fault_problem(file: str, fault: Fault) -> Problem:
    """Return the problem that a fault in the YAML is."""
    line, column = (None, None) if fault.place is None else (fault.place.line, fault.place.column)
    return Problem(file, line, column, dotted(shown_path(fault.path)), fault.message, fault.hint)


def shown_path(path: KeyPath) -> KeyPath:
    """Return the part of a path that may be shown.

    `secret: {whsec_…}` and `headers: {"Authorization: …"}` make a secret a key by mistake.
    """
    for position, part in enumerate(path[:-1]):
        key, *below = path[position + 1 :]
        # What stands first and second is a section and a name: a subscription may be named so.
        if position < 1 or (position == 1 and path[0] not in {"defaults", "http", "smtp"}):
            continue
        if part in SECRET_KEYS and key not in SECRET_SOURCES:
            return path[: position + 1]
        if part == "headers" and not _HEADER_NAME.fullmatch(str(key)):
            return path[: position + 1]
        if part == "headers" and below and below[0] not in SECRET_SOURCES:
            return path[: position + 2]
    return path
