"""A part with a defect runs again after a pause; cancellation and a broken queue pass through."""

from itertools import pairwise
from pathlib import Path

import pytest
import trio
from structlog.testing import capture_logs
from trio.testing import MockClock

from relayd.containment import contained, is_defect
from relayd.queue.interface import QueueBroken, QueueError, QueueUnavailable

QUEUE = Path("queue.db")


async def test_a_defect_is_logged_and_the_part_runs_again_after_a_growing_pause(
    autojump_clock: MockClock,
) -> None:
    began: list[float] = []
    cleaned: list[float] = []

    async def run() -> None:
        began.append(trio.current_time())
        async with trio.open_nursery():
            if len(began) < 9:
                raise ValueError("a defect")

    with capture_logs() as logs:
        await contained(run, "part", clean_up=lambda: cleaned.append(trio.current_time()))
    pauses = [later - earlier for earlier, later in pairwise(began)]
    assert pauses == pytest.approx([1, 2, 4, 8, 16, 32, 60, 60])
    assert len(cleaned) == 8
    assert [(line["event"], line["part"]) for line in logs] == [("task_restarting", "part")] * 8


async def test_cancellation_passes_through_and_what_failed_with_it_is_logged(
    autojump_clock: MockClock,
) -> None:
    async def fail_when_cancelled() -> None:
        try:
            await trio.sleep_forever()
        finally:
            raise ValueError("a defect")

    async def run() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(fail_when_cancelled)
            nursery.start_soon(trio.sleep_forever)

    with capture_logs() as logs, trio.move_on_after(5) as scope:
        await contained(run, "part")
    assert scope.cancelled_caught
    assert trio.current_time() - scope.deadline < 2
    assert [line["event"] for line in logs] == ["task_restarting"]


async def test_a_broken_queue_ends_the_part() -> None:
    async def run() -> None:
        async with trio.open_nursery():
            raise QueueBroken(QUEUE, "the disk is broken")

    with pytest.RaisesGroup(QueueBroken):
        await contained(run, "part")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("no"), True),
        (QueueError(QUEUE, "UNIQUE"), True),
        (QueueUnavailable(QUEUE, "locked"), True),
        (QueueBroken(QUEUE, "broken"), False),
        (ExceptionGroup("", [ValueError("no"), KeyError("no")]), True),
        (ExceptionGroup("", [ExceptionGroup("", [QueueBroken(QUEUE, "x")])]), False),
        (KeyboardInterrupt(), False),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), False),
    ],
)
def test_what_is_a_defect(error: BaseException, expected: bool) -> None:
    assert is_defect(error) is expected
