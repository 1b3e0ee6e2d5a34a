"""Collects what is wrong in one file, with its places, while the checks go on."""

import re
from typing import Final

from relayd.config.problem import KeyPath, Problem, dotted
from relayd.config.yaml_text import Fault, Node

SECRET_KEYS: Final = frozenset({"secret", "previous_secret"})
SECRET_SOURCES: Final = frozenset({"file", "env", "credential"})
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,128}")


class Findings:
    """The errors and warnings of one file. A place that is bad is complained of once."""

    def __init__(self, file: str, document: Node) -> None:
        self.errors: list[Problem] = []
        self.warnings: list[Problem] = []
        self._file = file
        self._document = document
        self._bad: set[KeyPath] = set()
        self._around_bad: set[KeyPath] = set()

    def error(self, path: KeyPath, message: str, hint: str = "", *, at_key: bool = False) -> None:
        """Note an error in the value at `path`, or in its key; nothing if it is bad already."""
        if self.is_bad(path):
            return
        self._bad.add(path)
        self._around_bad.update(path[:length] for length in range(len(path)))
        self.errors.append(self._problem(path, message, hint, at_key=at_key))

    def warning(self, path: KeyPath, message: str, hint: str = "") -> None:
        """Note what is doubtful about the value at `path`."""
        self.warnings.append(self._problem(path, message, hint, at_key=False))

    def is_bad(self, path: KeyPath) -> bool:
        """Tell whether the value at `path`, or one that it is part of, is bad."""
        return any(path[:length] in self._bad for length in range(len(path) + 1))

    def is_doubtful(self, path: KeyPath) -> bool:
        """Tell whether the value at `path`, or one around it or within it, is bad."""
        return path in self._around_bad or self.is_bad(path)

    def value(self, path: KeyPath) -> object:
        """Return the data at `path`, None if there is none. It may be a secret."""
        node = self._document
        for part in path:
            child = node.children.get(part)
            if child is None:
                return None
            node = child
        return node.data

    def place_words(self, path: KeyPath) -> str:
        """Return `subscriptions.shop, line 12`, to name another place in a message."""
        shown = shown_path(path)
        return f"{dotted(shown)}, line {self._document.place_of_key(shown).line}"

    def _problem(self, path: KeyPath, message: str, hint: str, *, at_key: bool) -> Problem:
        shown = shown_path(path)
        find = self._document.place_of_key if at_key else self._document.place_of
        place = find(shown)
        return Problem(self._file, place.line, place.column, dotted(shown), message, hint)


def fault_problem(file: str, fault: Fault) -> Problem:
    """Return the problem that a fault in the YAML is."""
    line, column = (None, None) if fault.place is None else (fault.place.line, fault.place.column)
    return Problem(file, line, column, dotted(shown_path(fault.path)), fault.message, fault.hint)


def shown_path(path: KeyPath) -> KeyPath:
    """Return the part of a path that may be shown.

    `secret: {whsec_…}` and `headers: {"Authorization: …"}` make a secret a key by mistake.
    """
    for position, part in enumerate(path):
        following = path[position + 1 : position + 3]
        if part == "headers" and following:
            if not _HEADER_NAME.fullmatch(str(following[0])):
                return path[: position + 1]
            if len(following) == 2 and following[1] not in SECRET_SOURCES:
                return path[: position + 2]
        elif part in SECRET_KEYS and following and following[0] not in SECRET_SOURCES:
            # A subscription may have the name `secret`; what is in it is no secret.
            if position != 1:
                return path[: position + 1]
    return path
