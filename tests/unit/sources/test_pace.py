"""The pace of spools, on virtual time."""

import trio
from trio.testing import MockClock

from relayd.sources.pace import BULK_ROWS, Pace


async def rested(pace: Pace, rows: int, took_s: float) -> float:
    """Rest after a frame; return for how long."""
    began = trio.current_time()
    await pace.rest(rows, took_s)
    return round(trio.current_time() - began, 6)


async def test_a_burst_rests_while_deliveries_are_behind(autojump_clock: MockClock) -> None:
    assert await rested(Pace(lambda: True), BULK_ROWS, 0.01) == 0.02


async def test_a_burst_does_not_rest_otherwise(autojump_clock: MockClock) -> None:
    assert await rested(Pace(lambda: False), BULK_ROWS, 0.01) == 0.0


async def test_few_rows_wait_for_no_burst(autojump_clock: MockClock) -> None:
    pace = Pace(lambda: True)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(rested, pace, BULK_ROWS, 0.05)
        assert await rested(pace, BULK_ROWS - 1, 0.01) == 0.0


async def test_bursts_of_many_spools_rest_one_after_the_other(autojump_clock: MockClock) -> None:
    pace, found = Pace(lambda: True), list[float]()

    async def burst() -> None:
        found.append(await rested(pace, BULK_ROWS, 0.01))

    async with trio.open_nursery() as nursery:
        for _ in range(4):
            nursery.start_soon(burst)
    assert found == [0.02, 0.04, 0.06, 0.08]


async def test_a_frame_that_waited_for_a_full_disk_is_followed_by_no_long_rest(
    autojump_clock: MockClock,
) -> None:
    assert await rested(Pace(lambda: True), BULK_ROWS, 7200.0) == 0.1
