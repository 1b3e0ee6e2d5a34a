"""Turns on the loop: reading takes four fifths of the time at most, and users take turns."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relayd.sources.loop_time import SLICE_S, LoopTime


async def test_reading_that_took_a_slice_waits_as_long(autojump_clock: MockClock) -> None:
    loop_time = LoopTime(trio.current_time)
    assert not loop_time.is_up()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop_time.run)
        began = trio.current_time()
        for _ in range(100):
            # No time passes while it works: each turn waits for what the one before took.
            loop_time.charge(SLICE_S)
            await loop_time.turn(1)
        assert 0.1 <= trio.current_time() - began <= 0.2
        nursery.cancel_scope.cancel()


async def test_users_take_turns(autojump_clock: MockClock) -> None:
    loop_time = LoopTime(trio.current_time)
    order: list[int] = []

    async def work(uid: int) -> None:
        for _ in range(2):
            await loop_time.turn(uid)
            order.append(uid)
            loop_time.charge(SLICE_S)

    async with trio.open_nursery() as nursery:
        async with trio.open_nursery() as workers:
            for uid in (1, 1, 1, 2):
                workers.start_soon(work, uid)
            await wait_all_tasks_blocked()
            assert loop_time.is_up(), "whoever comes now waits behind them"
            nursery.start_soon(loop_time.run)
        nursery.cancel_scope.cancel()
    assert order.index(2) <= 1
    assert order[:4].count(2) == 2, order


async def test_a_wait_that_is_cancelled_leaves_the_turn_to_others(
    autojump_clock: MockClock,
) -> None:
    loop_time = LoopTime(trio.current_time)
    with trio.move_on_after(1.0):
        await loop_time.turn(1)
    assert not loop_time.is_up()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(loop_time.run)
        with trio.fail_after(1.0):
            await loop_time.turn(2)
        nursery.cancel_scope.cancel()
