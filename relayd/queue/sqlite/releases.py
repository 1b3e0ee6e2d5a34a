"""The numbers of releases, and which of them are still being written: see `core.release`."""

from collections.abc import Iterator
from contextlib import contextmanager

from relayd.queue.sqlite.accept import Numbers


class Releases:
    """Gives out the numbers of releases."""

    def __init__(self, numbers: Numbers) -> None:
        self._numbers = numbers
        self._unwritten: set[int] = set()

    def next(self) -> int:
        """Return the number of a release from now on."""
        self._numbers.release += 1
        return self._numbers.release

    @property
    def newest(self) -> int:
        """The newest release that an attempt which begins now is made after.

        One that is still being written is not among them: the attempt is made as things were
        before it.
        """
        return min(self._unwritten, default=self._numbers.release + 1) - 1

    @contextmanager
    def being_written(self) -> Iterator[int]:
        """Give the number of a release that is written within this block."""
        number = self.next()
        self._unwritten.add(number)
        try:
            yield number
        finally:
            self._unwritten.remove(number)
