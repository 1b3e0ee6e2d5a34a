"""Those who ask while a job runs share its next run."""

import pytest
import trio
import trio.testing

from relayd.merged_calls import MergedCalls


class Job:
    """Counts its runs; each waits until it is let go."""

    def __init__(self) -> None:
        self.runs = 0
        self.go = trio.Semaphore(0)
        self.fails = False

    async def __call__(self) -> int:
        self.runs += 1
        number = self.runs
        await self.go.acquire()
        if self.fails:
            raise ValueError(number)
        return number


async def waits() -> None:
    await trio.testing.wait_all_tasks_blocked()


async def test_all_who_ask_during_a_run_get_the_answer_of_one_more() -> None:
    job = Job()
    calls = MergedCalls(job)
    answers: list[tuple[str, int]] = []

    async def ask(name: str) -> None:
        answers.append((name, await calls.call()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask, "first")
        await waits()
        for _ in range(20):
            nursery.start_soon(ask, "during")
        await waits()
        job.go.release()
        await waits()
        assert answers == [("first", 1)]
        nursery.start_soon(ask, "during the second")
        await waits()
        job.go.release()
        await waits()
        assert sorted(answers) == [*[("during", 2)] * 20, ("first", 1)]
        job.go.release()
    assert answers[-1] == ("during the second", 3)
    assert job.runs == 3


@pytest.mark.parametrize("running", [False, True])
async def test_who_is_cancelled_takes_no_answer_from_others(running: bool) -> None:
    job = Job()
    calls = MergedCalls(job)
    answers: list[int] = []

    async def ask() -> None:
        answers.append(await calls.call())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await waits()
        leader = trio.CancelScope()

        async def lead() -> None:
            with leader:
                await ask()

        nursery.start_soon(lead)
        await waits()
        nursery.start_soon(ask)
        nursery.start_soon(ask)
        await waits()
        if running:
            job.go.release()
            await waits()
        leader.cancel()
        await waits()
        job.go.release()
        job.go.release()
    assert len(answers) == 3
    assert answers[1] == answers[2]


async def test_an_error_is_that_of_who_met_it() -> None:
    job = Job()
    calls = MergedCalls(job)
    job.fails = True
    errors: list[ValueError] = []

    async def ask() -> None:
        try:
            await calls.call()
        except ValueError as error:
            errors.append(error)

    async with trio.open_nursery() as nursery:
        for _ in range(3):
            nursery.start_soon(ask)
        for _ in range(3):
            job.go.release()
    assert len(errors) == 3
    job.fails = False
    job.go.release()
    assert await calls.call() == job.runs
