"""An asyncio loop in a thread of its own, on which aiosqlite opens and closes its connections."""

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Generic, TypeVar

import outcome
import trio

T = TypeVar("T")


class AsyncioThread:
    """The thread and its loop, while they run. Made by `asyncio_thread`."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="relayd-asyncio")
        self._running = set[asyncio.Task[Any]]()

    async def run(self, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run the coroutine that `make` makes, and return its result or raise its exception.

        Cancellation waits until it has ended, and takes effect then.
        """
        reply = Reply[T]()

        def begin() -> None:
            task = self._loop.create_task(make())
            self._running.add(task)  # asyncio itself keeps weak references only
            task.add_done_callback(end)

        def end(task: asyncio.Task[T]) -> None:
            self._running.discard(task)
            reply.give(outcome.capture(task.result))

        self._loop.call_soon_threadsafe(begin)
        return await reply.wait()

    def begin(self) -> None:
        """Start the thread."""
        self._thread.start()

    def end(self) -> None:
        """Stop the loop, and wait for the thread's end."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


class Reply(Generic[T]):
    """A result on its way to the trio task that made this and waits for it."""

    def __init__(self) -> None:
        self._task = trio.lowlevel.current_task()
        self._token = trio.lowlevel.current_trio_token()

    def give(self, result: outcome.Outcome[T]) -> None:
        """Wake the task with a result; once, from any thread."""
        with suppress(trio.RunFinishedError):  # nobody waits any more
            self._token.run_sync_soon(trio.lowlevel.reschedule, self._task, result)

    def wait(self) -> Awaitable[T]:
        """Wait for the result. Not to be cancelled."""
        # Returned, not awaited here: that spares a frame at each resume.
        waiting: Awaitable[T] = trio.lowlevel.wait_task_rescheduled(_not_cancelled)  # noqa: ASYNC105 - the caller awaits it
        return waiting


def _not_cancelled(_: trio.lowlevel.RaiseCancelT) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED


_current: trio.lowlevel.RunVar[AsyncioThread] = trio.lowlevel.RunVar("relayd-asyncio")


@asynccontextmanager
async def asyncio_thread() -> AsyncIterator[AsyncioThread]:
    """Run an asyncio loop in a thread, for all of this trio run, until the block is left."""
    thread = AsyncioThread()
    thread.begin()
    token = _current.set(thread)
    try:
        yield thread
    finally:
        _current.reset(token)
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(thread.end)


def current_asyncio_thread() -> AsyncioThread:
    """Return the one that runs. Raises `LookupError` where none does."""
    return _current.get()
