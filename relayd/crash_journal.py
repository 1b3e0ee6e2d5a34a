"""What this process is at, in a file that outlives it: what it died at three times, it leaves be.

An exception ends one attempt. What ends the process itself (a crash of the interpreter, a lack of
memory, a loop without end that the watchdog ends) would end it again after each start, and nothing
else would get through. So the number of what is being worked on stands in a page that the kernel
keeps when the process dies. Only what runs can be at fault: it stands there while code runs for it,
and not while it waits for an answer. One thread runs that code, so there is one at a time.

The page is written as memory, at 50 ns: a write(2) would take 1 µs and give up the interpreter's
lock. A power loss may lose it, which costs a count. What is poison is forgotten once relayd ends in
order, so that what was set aside can be tried again, by a relayd that is mended.
"""

import mmap
import os
import types
from array import array
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, ParamSpec, TypeVar

import structlog

from relayd.core.quarantine import NOTHING, poisonous, remember

P = ParamSpec("P")
R = TypeVar("R")

_log = structlog.get_logger()

_SIZE: Final = 4096
_MAGIC: Final = int.from_bytes(b"relayd01", "little")
_HEAD, _NOW, _DEATHS = 0, 1, slice(2, 66)
"""Cells of 64 bits: the magic number, the key of what is worked on now, and the keys of what relayd
died at, the last one first."""


class AtWork:
    """Notes what is worked on, and knows what is not to be tried again.

    `page` has cells of 64-bit integers. `poison` has the keys of what is not to be tried; `deaths`
    those of what relayd died at since it last ended in order, the last one first; `died_at` that of
    what it died at just now, and None when it was at nothing.
    """

    def __init__(
        self, page: memoryview, deaths: Sequence[int] = (), died_at: int | None = None
    ) -> None:
        self._page = page
        self.deaths = deaths
        self.died_at = died_at
        self.poison = poisonous(deaths)

    @classmethod
    @contextmanager
    def recorded(cls, path: Path, *, after_crash: bool) -> Iterator["AtWork"]:
        """Yield one that notes in this file. `after_crash`: the process before did not end in order.

        Where the file cannot be had (the disk is full, say), this says so and notes nothing.
        """
        try:
            mapped = _mapped(path)
        except OSError as error:
            _log.warning(
                "crash_journal_unwritable",
                path=str(path),
                detail=f"{error.strerror}; an event that crashes relayd repeatedly is not detected",
            )
            yield cls.unrecorded()
            return
        with mapped, memoryview(mapped) as page_bytes, page_bytes.cast("q") as page:
            died_at, deaths = None, list[int]()
            if after_crash and page[_HEAD] == _MAGIC:
                died_at = page[_NOW] or None
                deaths = [key for key in page[_DEATHS] if key != NOTHING]
                if died_at is not None:
                    deaths = remember(deaths, died_at, _DEATHS.stop - _DEATHS.start)
            # In this order: a kill in between loses a death, and counts none twice.
            page[_HEAD], page[_NOW] = _MAGIC, NOTHING
            _note_deaths(page, deaths)
            yield cls(page, deaths, died_at)
            _note_deaths(page, [])

    @classmethod
    def unrecorded(cls, deaths: Sequence[int] = ()) -> "AtWork":
        """Return one whose notes nobody reads after a crash."""
        return cls(memoryview(bytearray(_SIZE)).cast("q"), deaths)

    def note_death(self, key: int) -> int:
        """Note that another process died at this, for this one; return how often by now."""
        self.deaths = remember(self.deaths, key, _DEATHS.stop - _DEATHS.start)
        _note_deaths(self._page, self.deaths)
        self.poison = poisonous(self.deaths)
        return self.deaths.count(key)

    def call(self, key: int, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Call a function, noting that it is at `key`."""
        self._page[_NOW] = key
        try:
            return function(*args, **kwargs)
        finally:
            self._page[_NOW] = NOTHING

    @types.coroutine
    def drive(self, key: int, coroutine: Coroutine[Any, Any, R]) -> Generator[Any, Any, R]:
        """Await a coroutine, noting that it is at `key` while it runs, and not while it waits."""
        page, resume = self._page, coroutine.send
        sent: Any = None
        while True:
            page[_NOW] = key
            try:
                waits_for = resume(sent)
            except StopIteration as end:
                result: R = end.value
                return result
            finally:
                page[_NOW] = NOTHING
            try:
                resume, sent = coroutine.send, (yield waits_for)
            except BaseException as thrown:  # noqa: BLE001 - into the coroutine, whatever it is
                resume, sent = coroutine.throw, thrown


def _mapped(path: Path) -> mmap.mmap:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_size < _SIZE:
            # Written out, as SQLite does with its -shm: on a full disk, a hole in a file that is
            # mapped ends the process.
            os.pwrite(descriptor, bytes(_SIZE), 0)
        return mmap.mmap(descriptor, _SIZE)
    finally:
        os.close(descriptor)


def _note_deaths(page: memoryview, deaths: Sequence[int]) -> None:
    room = len(page[_DEATHS])
    noted = [*deaths[:room], *[NOTHING] * (room - len(deaths))]
    page[_DEATHS] = memoryview(array("q", noted))
