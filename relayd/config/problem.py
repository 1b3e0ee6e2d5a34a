"""What is wrong with a configuration, where, and what would be right."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_PROBLEMS = 100
"""How many are told in one go. A file with more than that is no configuration of relayd."""

_LONGEST_KEY = 100

KeyPath = tuple[str | int, ...]
"""Where a value stands in the data: keys, and positions in lists from 0."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong. Never holds a value that could be a secret.

    `file` is the path as it was given; `line` and `column` count from 1, and are None when the
    problem is with the file as a whole. `key` is the path of keys, as `subscriptions.shop.url`.
    `hint` says what would be right, and may be empty.
    """

    file: str
    line: int | None
    column: int | None
    key: str
    message: str
    hint: str = ""

    def __str__(self) -> str:
        place = "" if self.line is None else f":{self.line}:{self.column}"
        key = f"{self.key}: " if self.key else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{self.file}{place}: {key}{self.message}{hint}"


class ConfigError(Exception):
    """The configuration cannot be used. `problems` holds all that is wrong, in the file's order."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = in_order(problems)
        super().__init__("\n".join(map(str, self.problems)))


def in_order(problems: Iterable[Problem]) -> tuple[Problem, ...]:
    """Return the problems by their places, file by file, without repetitions, the first 100 of them.

    The last of them tells how many there are beyond.
    """
    found = dict.fromkeys(problems)
    files = {file: n for n, file in enumerate(dict.fromkeys(each.file for each in found))}
    ordered = sorted(found, key=lambda each: (files[each.file], each.line or 0, each.column or 0))
    beyond = len(ordered) - MAX_PROBLEMS
    if beyond <= 0:
        return tuple(ordered)
    file = ordered[0].file
    return (
        *ordered[:MAX_PROBLEMS],
        Problem(file, None, None, "", f"and {beyond} more problems after these"),
    )


def dotted(path: KeyPath) -> str:
    """Return a path as it is shown: `subscriptions.shop.events[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            key = in_one_line(part, _LONGEST_KEY)
            text += f".{key}" if text else key
    return text


def in_one_line(text: str, longest: int) -> str:
    """Return text from a file as it may stand in one line of a log or terminal."""
    shown = text if text.isprintable() else text.encode("unicode_escape").decode()
    return shown if len(shown) <= longest else shown[:longest] + "…"
