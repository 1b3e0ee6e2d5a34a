"""Group commit: what callers hand in while one batch is written goes into the next one together.

One fsync costs about as much for a hundred rows as for one. A lone caller waits for nobody.
"""

from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

import trio

T = TypeVar("T")
R = TypeVar("R")


class _Batch(Generic[T, R]):
    def __init__(self) -> None:
        self.items: list[T] = []
        self.done = trio.Event()
        self.results: Sequence[R] = ()
        self.error: Exception | None = None


class Group(Generic[T, R]):
    """Runs `run` over batches of at most `limit` items, one batch at a time, in order.

    `run` gets the items in the order in which they came, and returns one result for each.
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
        the batch is raised in each of its callers.
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
        if batch.error is not None:
            raise batch.error
        return batch.results[index]

    async def _lead(self, batch: _Batch[T, R]) -> None:
        async with self._turn:
            if self._collecting is batch:
                self._collecting = _Batch()
            try:
                batch.results = await self._run(batch.items)
            except Exception as error:  # noqa: BLE001 - it is raised in every caller of the batch
                batch.error = error
            finally:
                batch.done.set()
