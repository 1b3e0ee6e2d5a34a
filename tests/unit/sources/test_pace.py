"""The pace of spools, on virtual time."""

import trio
from trio.testing import MockClock

from relayd.sources.pace import BULK_ROWS, Pace


async def take_in(pace: Pace, rows: int, took_s: float) -> float:
    """Take in a frame; return the moment when the next one may be read."""
    async with pace.frame(rows):
        await trio.sleep(took_s)
    return trio.current_time()


async def test_a_burst_rests_while_deliveries_are_behind(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    assert await take_in(Pace(lambda: True), BULK_ROWS, 0.01) - began == 0.03


async def test_a_burst_does_not_rest_otherwise(autojump_clock: MockClock) -> None:
    began = trio.current_time()
    assert await take_in(Pace(lambda: False), BULK_ROWS, 0.01) - began == 0.01


async def test_few_rows_wait_for_no_burst(autojump_clock: MockClock) -> None:
    pace, began = Pace(lambda: True), trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(take_in, pace, BULK_ROWS, 5.0)
        assert await take_in(pace, BULK_ROWS - 1, 0.01) - began == 0.01


async def test_all_bursts_together_take_no_more_than_one(autojump_clock: MockClock) -> None:
    pace, began, ended = Pace(lambda: True), trio.current_time(), list[float]()

    async def burst() -> None:
        ended.append(await take_in(pace, BULK_ROWS, 1.0) - began)

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(burst)
    assert ended == [3.0, 6.0, 9.0, 12.0]
