"""Runs a long job for all who ask for it: those who ask while it runs share the next run."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import trio

T = TypeVar("T")


class MergedCalls(Generic[T]):
    """Runs `job`, one run at a time. However many ask while it runs, one more run answers them.

    Each gets the result of a run that began after it asked. A run belongs to the first of those who
    share it: an exception is that one's alone, as is a cancellation, and the others run it again.
    """

    def __init__(self, job: Callable[[], Awaitable[T]]) -> None:
        self._job = job
        self._running = trio.Lock()
        self._next: _Run[T] | None = None

    async def call(self) -> T:
        """Return the result of the next run."""
        while True:
            run = self._next
            if run is None:
                return await self._lead()
            await run.ended.wait()
            if run.results:
                return run.results[0]

    async def _lead(self) -> T:
        run = self._next = _Run[T]()
        try:
            async with self._running:
                # What is asked for from now on may be about something that this run has seen before.
                self._next = None
                run.results.append(await self._job())
        finally:
            if self._next is run:
                self._next = None
            run.ended.set()
        return run.results[0]


class _Run(Generic[T]):
    """One run, from when it was asked for; `results` has one once it has ended well."""

    def __init__(self) -> None:
        self.ended = trio.Event()
        self.results: list[T] = []
