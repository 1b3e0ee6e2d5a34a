"""A shell pattern: `*`, `?` and `[…]`, as Python's `fnmatch` has them, case for case.

A pattern of literal text and `*`, as nearly all are, is matched by looking for its literal parts one
after the other: in a time that grows with the text, whatever stands in both. It needs no preparation.
One with `?` or `[` is compiled to a regular expression when it is first used, or by `prepare`: that
takes up to a millisecond, so a pattern is never sent to another process compiled.
"""

import re
from dataclasses import dataclass, field
from fnmatch import translate
from typing import Final

LONGEST: Final = 256
"""Characters of a pattern. Compiling it takes 4 µs for each."""


@dataclass(frozen=True, slots=True)
class Glob:
    """Text that a shell pattern matches as a whole."""

    pattern: str
    _literals: tuple[str, ...] = field(init=False, compare=False, repr=False)
    """What is between the stars; nothing where the pattern has `?` or `[`."""
    _regex: re.Pattern[str] | None = field(init=False, compare=False, repr=False, default=None)

    def __post_init__(self) -> None:
        plain = "?" not in self.pattern and "[" not in self.pattern
        literals = tuple(self.pattern.split("*")) if plain else ()
        object.__setattr__(self, "_literals", literals)

    def __reduce__(self) -> tuple[type["Glob"], tuple[str]]:
        return Glob, (self.pattern,)

    def accepts(self, value: object) -> bool:
        """Tell whether one value satisfies this."""
        if not isinstance(value, str):
            return False
        return (
            self._in_order(value) if self._literals else self._compiled().match(value) is not None
        )

    def prepare(self) -> None:
        """Do now what the first use would do, where there is anything to do."""
        if not self._literals:
            self._compiled()

    def _compiled(self) -> re.Pattern[str]:
        regex = self._regex
        if regex is None:
            regex = re.compile(translate(self.pattern))
            object.__setattr__(self, "_regex", regex)
        return regex

    def _in_order(self, text: str) -> bool:
        first, *others = self._literals
        if not others:
            return text == first
        *middle, last = others
        end = len(text) - len(last)
        at = len(first)
        if at > end or not text.startswith(first) or not text.endswith(last):
            return False
        for literal in middle:
            found = text.find(literal, at, end)
            if found < 0:
                return False
            at = found + len(literal)
        return True
