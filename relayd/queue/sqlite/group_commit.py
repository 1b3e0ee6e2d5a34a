"""Group commit: what callers hand in while one batch is written goes into the next one together.

One fsync costs about as much for a hundred rows as for one. A lone caller waits for nobody.

An item with a defect fails alone: where a batch fails for another reason than the database, each of
its items is run by itself.
"""

from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

import trio

from relayd.containment import is_defect
from relayd.queue.interface import QueueUnavailable

T = TypeVar("T")
R = TypeVar("R")

Submission: TypeAlias = Coroutine[Any, Any, R]
"""What `Group.submit` returns, to be awaited: passed on as it is, it spares a frame at each resume."""


class _Batch(Generic[T, R]):
    def __init__(self) -> None:
        self.items: list[T] = []
        self.done = trio.Event()
        self.results: Sequence[R | _Failed] = ()


class _Failed:
    """Stands in the place of a result that there is none of."""

    def __init__(self, error: Exception) -> None:
        self.error = error


class Group(Generic[T, R]):
    """Runs `run` over batches of at most `limit` items, one batch at a time, in order.

    `run` gets the items in the order in which they came, and returns one result for each. When it
    raises, nothing of the batch happened.
    """

    def __init__(self, run: Callable[[Sequence[T]], Awaitable[Sequence[R]]], limit: int) -> None:
        self._run = run
        self._limit = limit
        self._turn = trio.Lock()
        self._collecting: _Batch[T, R] = _Batch()

    async def submit(self, item: T) -> R:
        """Hand in one item, and return its result once its batch is through.

        The first caller of a batch runs it for the others, and so cannot be cancelled; another
        caller that is cancelled stops waiting, and its item goes through all the same. An error of
        the database is raised in each of the batch's callers, a defect in its item's caller only.
        """
        batch = self._collecting
        index = len(batch.items)
        batch.items.append(item)
        if len(batch.items) == self._limit:
            self._collecting = _Batch()
        if index > 0:
            await batch.done.wait()
        else:
            with trio.CancelScope(shield=True):
                await self._lead(batch)
        result = batch.results[index]
        if isinstance(result, _Failed):
            raise result.error
        return result

    async def settled(self) -> None:
        """Wait until what was handed in before this is through, whatever came of it."""
        batch = self._collecting
        if batch.items:
            await batch.done.wait()
        else:
            async with self._turn:  # those who have it, or wait for it, came before
                pass

    async def _lead(self, batch: _Batch[T, R]) -> None:
        async with self._turn:
            if self._collecting is batch:
                self._collecting = _Batch()
            try:
                batch.results = await self._results(batch.items)
            finally:
                batch.done.set()

    async def _results(self, items: Sequence[T]) -> Sequence[R | _Failed]:
        try:
            return await self._run(items)
        except Exception as error:  # noqa: BLE001 - it is raised in the callers, see `submit`
            if len(items) == 1 or not is_defect(error) or isinstance(error, QueueUnavailable):
                return [_Failed(error)] * len(items)
        return [result for item in items for result in await self._results([item])]
