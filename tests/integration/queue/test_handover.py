"""One subscription's deliveries go to another: each once, step by step, whatever cuts it off."""

import sqlite3
from pathlib import Path

import pytest
import trio
from queue_file import (
    FAILED,
    NOW,
    OK,
    URL,
    accept,
    cancel,
    claimed,
    inside,
    opened,
    record,
    rows_of,
    seen,
)

from relayd.core.hold import Hold
from relayd.core.release import Extra
from relayd.queue.sqlite import handover, subscriptions
from relayd.queue.sqlite.handover import hand_over
from relayd.queue.sqlite.queue import Queue
from relayd.queue.values import Declared, HandoverStep


async def step(queue: Queue, after: int = 0, in_flight: tuple[int, ...] = ()) -> HandoverStep:
    return await inside(
        queue,
        lambda db, _, ids: hand_over(
            db, ids["books"], ids["mail"], after=after, in_flight=in_flight, now=NOW
        ),
    )


async def through(queue: Queue, in_flight: tuple[int, ...] = ()) -> list[HandoverStep]:
    steps = [await step(queue, 0, in_flight)]
    while steps[-1].through < steps[-1].last:
        steps.append(await step(queue, steps[-1].through, in_flight))
    return steps


def owners(path: Path) -> dict[object, object]:
    return {
        row[0]: row[1]
        for row in rows_of(
            path,
            "SELECT d.seq, s.name FROM deliveries d JOIN subscriptions s ON s.id = d.subscription_id",
        )
    }


async def test_what_waits_and_what_ended_goes_over_with_its_history(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2", "evt_3", "evt_4")
        await accept(queue, "evt_5", to=("mail",))
        first, second, third, _ = await claimed(queue)
        await record(queue, first, OK)
        await record(queue, second, FAILED)
        await cancel(queue, third.seq)
        before = rows_of(path, "SELECT seq, state, attempts, step, due_at FROM deliveries")
        assert await step(queue) == HandoverStep(4, 2, 5, 5, 0, 0, holds_moved=False)
        assert set(owners(path).values()) == {"mail"}
        # Nothing else of them changed, and a second time there is nothing left.
        assert rows_of(path, "SELECT seq, state, attempts, step, due_at FROM deliveries") == before
        assert await step(queue) == HandoverStep(0, 0, 5, 5, 0, 0, holds_moved=False)
        due = await claimed(queue, now=NOW + 200, name="mail")
        assert sorted(each.seq for each in due) == [2, 4, 5]
        assert {each.subscription for each in due} == {"mail"}


async def test_an_empty_queue_has_nothing_to_hand_over(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        assert await step(queue) == HandoverStep(0, 0, 0, 0, 0, 0, holds_moved=False)


async def test_what_is_in_flight_follows_once_its_attempt_has_ended(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2", "evt_3")
        [first, second, _] = await claimed(queue)
        done = await step(queue, in_flight=(1, 2))
        assert (done.moved, done.in_flight, done.kept) == (1, 2, 0)
        assert owners(path) == {1: "books", 2: "books", 3: "mail"}
        # They end under the name that they began under.
        await record(queue, first, OK)
        await record(queue, second, FAILED)
        done = await step(queue)
        assert (done.moved, done.waiting, done.in_flight) == (2, 1, 0)
        assert owners(path) == dict.fromkeys((1, 2, 3), "mail")


async def test_an_event_that_the_other_has_already_is_not_sent_twice(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", to=("books", "mail"))
        await accept(queue, "evt_2")
        done = await step(queue)
        assert (done.moved, done.kept) == (1, 1)
        assert owners(path) == {1: "books", 2: "mail", 3: "mail"}
        assert len(await claimed(queue, name="mail")) == 2


async def test_a_step_is_bounded_and_none_is_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "queue.db"
    monkeypatch.setattr(handover, "WINDOW", 3)
    async with opened(path) as queue:
        for number in range(10):
            await accept(queue, f"evt_{number}", to=("mail",) if number % 3 == 0 else ("books",))
        # What was pruned leaves gaps.
        await inside(
            queue, lambda db, *_: db.execute("DELETE FROM deliveries WHERE seq IN (2, 5, 6)")
        )
        steps = await through(queue)
        assert all(each.moved <= 3 for each in steps)
        assert sum(each.moved for each in steps) == 3
        assert set(owners(path).values()) == {"mail"}


@pytest.mark.parametrize("same_url", [True, False])
async def test_holds_move_along_once(tmp_path: Path, *, same_url: bool) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        url = URL if same_url else "https://new.example/"
        await accept(queue, "evt_1")
        await inside(queue, lambda db, *_: subscriptions.pause(db, "books", now=NOW))
        await inside(
            queue,
            lambda db, *_: db.execute("UPDATE subscriptions SET gone_at = 5 WHERE name = 'books'"),
        )
        await queue.declare([Declared("mail", url, True)])
        assert (await step(queue)).holds_moved
        assert rows_of(
            path, "SELECT paused_at, gone_at FROM subscriptions WHERE name = 'mail'"
        ) == [(NOW, 5.0 if same_url else None)]
        # The operator lets it go on while the command still works.
        await inside(queue, lambda db, *_: subscriptions.resume(db, "mail"))
        assert not (await step(queue)).holds_moved
        holds = await seen(queue, subscriptions.read_holds)
        assert holds == {"books": Hold.REMOVED, "mail": None}


@pytest.mark.parametrize("way", ["released", "another_url"])
async def test_a_release_moves_along(tmp_path: Path, way: str) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        await accept(queue, "evt_1")
        await accept(queue, "evt_2", to=("mail",))
        for name in ("books", "mail"):
            [delivery] = await claimed(queue, name=name)
            await record(queue, delivery, FAILED)
        if way == "released":
            assert await queue.release("books") == 1
        else:
            other = Declared("mail", "https://other.example/hook", True)
            await queue.declare([Declared("books", URL, True), other])
            [delivery] = await claimed(queue, name="mail")
            await record(queue, delivery, FAILED)
        assert await claimed(queue, name="mail") == []
        assert (await step(queue)).released == 1
        # What was mail's own is not released with it.
        [delivery] = await claimed(queue, name="mail")
        assert (delivery.event_id, delivery.extra) == ("evt_1", Extra.OPERATOR)
        await record(queue, delivery, FAILED)
        assert await claimed(queue, name="mail") == []


async def test_a_step_that_fails_hands_nothing_over(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2")

        def torn(db: sqlite3.Connection, _: object, ids: dict[str, int]) -> None:
            hand_over(db, ids["books"], ids["mail"], after=0, in_flight=(), now=NOW)
            raise ValueError

        with pytest.raises(ValueError):
            await inside(queue, torn)
        assert owners(path) == {1: "books", 2: "books"}


async def test_an_event_that_was_handed_in_for_the_old_name_goes_over_too(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        other = sqlite3.connect(path)
        other.execute("BEGIN IMMEDIATE")
        steps: list[HandoverStep] = []

        async def hand_it_over() -> None:
            steps.append(await queue.hand_over("books", "mail", after=0, in_flight=()))

        async with trio.open_nursery() as nursery:
            for event_id in ("evt_2", "evt_3"):  # one is being written, one waits for its turn
                nursery.start_soon(accept, queue, event_id)
                await trio.testing.wait_all_tasks_blocked()
            nursery.start_soon(hand_it_over)
            await trio.testing.wait_all_tasks_blocked()
            other.rollback()
            other.close()
        assert [each.moved for each in steps] == [3]
        assert set(owners(path).values()) == {"mail"}
