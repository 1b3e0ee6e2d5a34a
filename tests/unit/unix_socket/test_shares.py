"""An amount that users share: bounds, turns, and what a cancelled wait leaves behind."""

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from relayd.unix_socket.shares import Shares


async def test_one_user_never_has_more_than_a_share_and_others_get_theirs() -> None:
    shares = Shares(10, 6)
    taken: list[int] = []

    async def take(uid: int, amount: int) -> None:
        await shares.take(uid, amount)
        taken.append(uid)

    async with trio.open_nursery() as nursery:
        await shares.take(1, 4)
        nursery.start_soon(take, 1, 4)
        await wait_all_tasks_blocked()
        await shares.take(2, 6)
        assert taken == [], "it waits for its own user's amount, and holds up nobody else"
        shares.give_back(1, 4)
        await wait_all_tasks_blocked()
        assert taken == [1]


async def test_users_take_turns_and_nobody_overtakes_whose_turn_it_is() -> None:
    shares = Shares(4, 4)
    order: list[str] = []

    async def work(name: str, uid: int, amount: int) -> None:
        async with shares.taken(uid, amount):
            order.append(name)
            await trio.lowlevel.checkpoint()

    await shares.take(9, 4)
    async with trio.open_nursery() as nursery:
        for name, uid, amount in [
            ("a1", 1, 4), ("a2", 1, 4), ("a3", 1, 4), ("b1", 2, 4), ("c1", 3, 1)
        ]:  # fmt: skip
            nursery.start_soon(work, name, uid, amount)
            await wait_all_tasks_blocked()
        shares.give_back(9, 4)
    assert order == ["a1", "b1", "c1", "a2", "a3"]


async def test_more_than_a_share_is_a_whole_share() -> None:
    shares = Shares(10, 6)
    async with shares.taken(1, 1_000):
        await shares.take(2, 4)
        with trio.move_on_after(0) as waiting:
            await shares.take(3, 1)
        assert waiting.cancelled_caught


async def test_a_wait_that_is_cancelled_takes_nothing(autojump_clock: MockClock) -> None:
    shares = Shares(2, 2)
    await shares.take(1, 2)
    with trio.move_on_after(1.0) as waiting:
        await shares.take(2, 2)
    assert waiting.cancelled_caught
    shares.give_back(1, 2)
    with trio.fail_after(1.0):
        await shares.take(3, 2)
