"""Jobs in tasks that stay, and the time limits of attempts in them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio
from trio.testing import MockClock

from relayd.delivery.worker_pool import Limit, TimeLimits, WorkerPool

Settled = list[tuple[str, str | None, float]]


@asynccontextmanager
async def limiting() -> AsyncIterator[TimeLimits]:
    limits = TimeLimits()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(limits.run)
        yield limits
        nursery.cancel_scope.cancel()


@dataclass
class Pool:
    """A worker pool whose jobs take 10 s at most, and then settle."""

    workers: WorkerPool
    make: Callable[[str], Awaitable[str]]
    settle: Callable[[str, str | None], Awaitable[None]]

    def start(self, names: Iterable[str]) -> None:
        for name in names:
            self.workers.start(self._job, name)

    async def _job(self, name: str, limit: Limit) -> None:
        made = None
        limit.begin(10.0)
        try:
            made = await self.make(name)
        finally:
            limit.end()
            if limit.passed:
                self.workers.start(lambda given, _: self.settle(*given), (name, made))
        if not limit.passed:
            await self.settle(name, made)


@asynccontextmanager
async def running(
    takes_s: dict[str, float], settled: Settled, *, settling_s: float = 0.0
) -> AsyncIterator[Pool]:
    """Yield a pool in which an attempt takes as long as is said, and 10 s at most."""

    async def make(name: str) -> str:
        await trio.sleep(takes_s[name])
        return name.upper()

    async def settle(name: str, made: str | None) -> None:
        await trio.sleep(settling_s)
        settled.append((name, made, trio.current_time()))

    async with limiting() as limits, trio.open_nursery() as nursery:
        yield Pool(WorkerPool(nursery, limits), make, settle)


async def test_attempts_are_made_at_the_same_time(autojump_clock: MockClock) -> None:
    settled: Settled = []
    async with running({"a": 3, "b": 1, "c": 2}, settled) as pool:
        pool.start(["a", "b", "c"])
        pool.workers.close()
    assert settled == [("b", "B", 1.0), ("c", "C", 2.0), ("a", "A", 3.0)]


async def test_a_task_that_is_through_makes_the_next_attempt(autojump_clock: MockClock) -> None:
    settled: Settled = []
    async with running({"a": 1, "b": 1}, settled) as pool:
        pool.start("a")
        await trio.sleep(2)
        tasks = trio.lowlevel.current_statistics().tasks_living
        pool.start("b")
        assert trio.lowlevel.current_statistics().tasks_living == tasks
        await trio.sleep(2)
        pool.workers.end_idle()
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == tasks - 1
    assert settled == [("a", "A", 1.0), ("b", "B", 3.0)]


async def test_each_attempt_has_a_time_limit_of_its_own(autojump_clock: MockClock) -> None:
    settled: Settled = []
    async with running({"a": 9, "b": 9, "c": 11, "d": 9}, settled) as pool:
        for name in "abcd":
            pool.start(name)
            await trio.sleep(20)
        pool.workers.close()
    assert settled == [("a", "A", 9.0), ("b", "B", 29.0), ("c", None, 50.0), ("d", "D", 69.0)]


async def test_to_settle_has_no_time_limit(autojump_clock: MockClock) -> None:
    settled: Settled = []
    async with running({"a": 9, "b": 11}, settled, settling_s=100) as pool:
        pool.start("ab")
        pool.workers.close()
    assert settled == [("a", "A", 109.0), ("b", None, 110.0)]


async def test_an_answer_that_comes_with_the_deadline_counts(autojump_clock: MockClock) -> None:
    settled: list[str | None] = []
    answer = trio.Event()

    async def make(_: str) -> str:
        await answer.wait()
        return "answered"

    async def settle(_: str, made: str | None) -> None:
        await trio.lowlevel.checkpoint()
        settled.append(made)

    async with limiting() as limits, trio.open_nursery() as nursery:
        pool = Pool(WorkerPool(nursery, limits), make, settle)
        pool.start("a")
        pool.workers.close()
        await trio.testing.wait_all_tasks_blocked()
        # Both in one turn of the event loop: the answer is there, and then time is up.
        autojump_clock.autojump_threshold = float("inf")
        answer.set()
        autojump_clock.jump(11)
    assert settled == ["answered"]


async def test_closing_ends_what_waits_and_lets_the_rest_finish(autojump_clock: MockClock) -> None:
    settled: Settled = []
    with trio.fail_after(5):
        async with running({"a": 1, "b": 4}, settled) as pool:
            pool.start("ab")
            await trio.sleep(2)
            pool.workers.close()
    assert settled == [("a", "A", 1.0), ("b", "B", 4.0)]


async def test_cancelled_from_outside_it_settles_nothing(autojump_clock: MockClock) -> None:
    settled: Settled = []
    with trio.move_on_after(1):
        async with running({"a": 2}, settled) as pool:
            pool.start("a")
    assert settled == []


async def test_a_failing_settle_ends_all(autojump_clock: MockClock) -> None:
    async def make(_: str) -> str:
        return ""

    async def settle(_: str, __: str | None) -> None:
        await trio.lowlevel.checkpoint()
        raise RuntimeError("the queue is broken")

    with pytest.RaisesGroup(RuntimeError):
        async with trio.open_nursery() as nursery:
            Pool(WorkerPool(nursery, TimeLimits()), make, settle).start("a")


async def test_attempts_that_time_out_together_are_ended_one_after_the_other(
    autojump_clock: MockClock,
) -> None:
    settled: Settled = []

    async def make(_: str) -> str:
        await trio.sleep_forever()
        raise AssertionError("it has a time limit")

    async def settle(name: str, made: str | None) -> None:
        await trio.lowlevel.checkpoint()
        settled.append((name, made, trio.current_time()))

    async with limiting() as limits, trio.open_nursery() as nursery:
        for number in range(500):
            pool = Pool(WorkerPool(nursery, limits), make, settle)
            pool.start([f"{number}"])
            pool.workers.close()
    times = [at for *_, at in settled]
    assert len(set(times)) == 500
    assert times[0] == 10.0
    assert times[-1] <= 10.25
