"""Work that is done in parts: a generator that yields between them, and returns the result."""

from collections.abc import Generator
from typing import Final, TypeVar

T = TypeVar("T")

Parts = Generator[None, None, T]
"""Each part takes well under a millisecond. Whoever iterates may let others run in between."""

STEPS: Final = 200
"""How many steps of about 1 µs a part has, such as the tokens of a text."""


def whole(work: Parts[T]) -> T:
    """Do the work in one go, and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result
