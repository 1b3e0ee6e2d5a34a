"""Group commit: who shares a batch, and what becomes of errors and cancelled callers."""

from collections.abc import Sequence
from pathlib import Path

import pytest
import trio

from relayd.queue.interface import QueueUnavailable
from relayd.queue.sqlite.group_commit import Group


class Recorder:
    """Runs batches only when let go, and remembers them."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = trio.Semaphore(0)
        self.error: Exception | None = None

    async def run(self, items: Sequence[int]) -> list[int]:
        self.batches.append(list(items))
        await self.go.acquire()
        if self.error is not None:
            raise self.error
        return [item * 10 for item in items]


async def test_a_lone_caller_waits_for_nobody() -> None:
    recorder = Recorder()
    recorder.go.release()
    group = Group(recorder.run, limit=8)
    assert await group.submit(1) == 10
    assert recorder.batches == [[1]]


async def test_what_comes_while_a_batch_runs_goes_into_the_next_one_together() -> None:
    recorder = Recorder()
    group = Group(recorder.run, limit=8)
    results: dict[int, int] = {}

    async def submit(item: int) -> None:
        results[item] = await group.submit(item)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(submit, 1)
        await trio.testing.wait_all_tasks_blocked()
        for item in (2, 3, 4):
            nursery.start_soon(submit, item)
            await trio.testing.wait_all_tasks_blocked()
        recorder.go.release()
        recorder.go.release()
    assert recorder.batches == [[1], [2, 3, 4]]
    assert results == {1: 10, 2: 20, 3: 30, 4: 40}


async def test_a_batch_ends_at_the_limit() -> None:
    recorder = Recorder()
    group = Group(recorder.run, limit=2)
    async with trio.open_nursery() as nursery:
        for item in range(5):
            nursery.start_soon(group.submit, item)
            await trio.testing.wait_all_tasks_blocked()
        for _ in range(5):
            recorder.go.release()
    assert [len(batch) for batch in recorder.batches] == [1, 2, 2]


async def test_an_error_reaches_every_caller_of_its_batch_and_no_other() -> None:
    recorder = Recorder()
    recorder.error = QueueUnavailable(Path("queue.db"), "no")
    group = Group(recorder.run, limit=8)
    raised: list[int] = []

    async def submit(item: int) -> None:
        with pytest.raises(QueueUnavailable, match="no"):
            await group.submit(item)
        raised.append(item)

    async with trio.open_nursery() as nursery:
        for item in (1, 2, 3):
            nursery.start_soon(submit, item)
            await trio.testing.wait_all_tasks_blocked()
        recorder.go.release()
        recorder.go.release()
    assert sorted(raised) == [1, 2, 3]
    recorder.error = None
    recorder.go.release()
    assert await group.submit(4) == 40


async def test_a_defect_reaches_its_own_caller_only() -> None:
    async def run(items: Sequence[int]) -> list[int]:
        await trio.lowlevel.checkpoint()
        if 3 in items:
            raise ValueError("three")
        return [item * 10 for item in items]

    group = Group(run, limit=8)
    results: dict[int, int | str] = {}

    async def submit(item: int) -> None:
        try:
            results[item] = await group.submit(item)
        except ValueError as error:
            results[item] = str(error)

    async with trio.open_nursery() as nursery:
        for item in (1, 2, 3, 4):
            nursery.start_soon(submit, item)
    assert results == {1: 10, 2: 20, 3: "three", 4: 40}


async def test_a_cancelled_leader_still_runs_the_batch_for_the_others() -> None:
    recorder = Recorder()
    group = Group(recorder.run, limit=8)
    results: list[int] = []
    leader = trio.CancelScope()

    async def lead() -> None:
        with leader:
            await group.submit(1)

    async def follow() -> None:
        results.append(await group.submit(2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(group.submit, 0)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(lead)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(follow)
        await trio.testing.wait_all_tasks_blocked()
        leader.cancel()
        recorder.go.release()
        recorder.go.release()
    assert recorder.batches == [[0], [1, 2]]
    assert results == [20]


async def test_who_waits_for_what_came_before_waits_for_all_of_it_and_for_nothing_else() -> None:
    recorder = Recorder()
    group = Group(recorder.run, limit=2)
    await group.settled()
    seen: list[int] = []

    async def settle() -> None:
        await group.settled()
        seen.append(len(recorder.batches))

    async with trio.open_nursery() as nursery:
        for item in range(4):
            nursery.start_soon(group.submit, item)
            await trio.testing.wait_all_tasks_blocked()
        # 0 is being written, 1 and 2 are complete and wait, 3 waits alone.
        nursery.start_soon(settle)
        await trio.testing.wait_all_tasks_blocked()
        nursery.start_soon(group.submit, 4)
        await trio.testing.wait_all_tasks_blocked()
        recorder.go.release()
        recorder.go.release()
        await trio.testing.wait_all_tasks_blocked()
        assert seen == []
        recorder.go.release()
        await trio.testing.wait_all_tasks_blocked()
        assert recorder.batches == [[0], [1, 2], [3, 4]]
        assert seen == [3]


async def test_what_was_handed_in_and_fails_is_through_too() -> None:
    recorder = Recorder()
    recorder.error = QueueUnavailable(Path("queue.db"), "no")
    group = Group(recorder.run, limit=8)

    async def submit() -> None:
        with pytest.raises(QueueUnavailable):
            await group.submit(1)

    with trio.fail_after(5):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(submit)
            await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(group.settled)
            await trio.testing.wait_all_tasks_blocked()
            recorder.go.release()
