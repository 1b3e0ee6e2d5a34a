"""asyncio's loop in its thread, as trio tasks use it."""

import asyncio
import threading

import outcome
import pytest
import trio

from relayd.asyncio_thread import Reply, asyncio_thread, current_asyncio_thread


async def test_many_tasks_each_get_their_own_result() -> None:
    async def double(number: int) -> int:
        await asyncio.sleep(0.001 * (number % 3))
        return 2 * number

    found: dict[int, int] = {}

    async def ask(number: int) -> None:
        found[number] = await current_asyncio_thread().run(lambda: double(number))

    async with asyncio_thread(), trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(ask, number)
    assert found == {number: 2 * number for number in range(100)}


async def test_an_exception_is_raised_where_the_call_was_made() -> None:
    async def fail() -> None:
        raise ValueError("no")

    async with asyncio_thread() as thread:
        with pytest.raises(ValueError, match="no"):
            await thread.run(fail)


async def test_a_cancelled_call_ends_first() -> None:
    ended = threading.Event()

    async def work() -> int:
        await asyncio.sleep(0.1)
        ended.set()
        return 1

    async with asyncio_thread() as thread:
        with trio.CancelScope() as scope:
            scope.cancel()
            assert await thread.run(work) == 1
            assert ended.is_set()
            await trio.lowlevel.checkpoint()
        assert scope.cancelled_caught


async def test_a_reply_from_another_thread_wakes_the_task() -> None:
    reply = Reply[str]()
    other = threading.Thread(target=reply.give, args=(outcome.Value("reply"),))
    other.start()
    with trio.CancelScope() as scope:
        scope.cancel()
        assert await reply.wait() == "reply"
    other.join()


async def test_the_thread_ends_with_the_block() -> None:
    async with asyncio_thread():
        assert "relayd-asyncio" in {each.name for each in threading.enumerate()}
    assert "relayd-asyncio" not in {each.name for each in threading.enumerate()}
    with pytest.raises(LookupError):
        current_asyncio_thread()
