"""Times that move with the clock, on a real queue."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from events import make_event
from queue_file import inside, seen

from relayd.clock import StartStep, step_at_start
from relayd.core.acceptance import NewEvent
from relayd.core.delivery import decide
from relayd.core.endpoint import Health
from relayd.core.outcome import Failure, Outcome
from relayd.database import sqlite_loop
from relayd.queue import clock_shift
from relayd.queue.clock_shift import move_endpoints, move_retries
from relayd.queue.interface import QueueUnavailable
from relayd.queue.sqlite.clock_marks import mark_seen
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.queue import Queue
from relayd.queue.values import Declared, Recording, Retries, Want

URL = "https://app.example/hook"
NOW = 1_700_000_000.0
HOUR = 3600.0
DAY = 86_400.0
FAILED = Outcome(0.1, status=500, failure=Failure.STATUS, detail="answered 500")


@asynccontextmanager
async def opened(path: Path, now: float = NOW) -> AsyncIterator[Queue]:
    async with sqlite_loop(), open_queue(path, lambda: now) as queue:
        await queue.declare([Declared("books", URL, True)])
        yield queue


async def fail(queue: Queue, event_id: str, *, now: float, health: Health | None = None) -> None:
    """Accept an event, and record a first attempt that failed, to be retried after 100 s."""
    await queue.accept([NewEvent(make_event(event_id), "socket", ("books",))])
    want = Want(("books",), 1_000, NOW, frozenset(), 0, backlog_first=False)
    claim = await queue.claim(want)
    [delivery] = [each for each in claim.deliveries if each.event_id == event_id]
    decided = decide(delivery, FAILED, (100.0,), started_at=now, now=now, jitter=0.0)
    await queue.record(Recording(decided, URL, (lambda: health) if health else None))


async def times(queue: Queue) -> dict[str, tuple[float, float | None]]:
    def read(db: sqlite3.Connection) -> dict[str, tuple[float, float | None]]:
        rows = db.execute(
            "SELECT e.id, d.scheduled_at, d.due_at FROM deliveries d"
            " JOIN events e ON e.seq = d.event_seq"
        )
        return {event_id: (scheduled, due) for event_id, scheduled, due in rows}

    return await seen(queue, read)


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_retries_from_before_a_step_move_with_it_and_others_stay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: float
) -> None:
    monkeypatch.setattr(clock_shift, "STEP_ROWS", 2)
    async with opened(tmp_path / "queue.db") as queue:
        for number in range(5):
            await fail(queue, f"evt_{number}", now=NOW - number)
        await fail(queue, "evt_new", now=NOW + step + 0.1)
        await queue.accept([NewEvent(make_event("evt_pending"), "socket", ("books",))])
        before = await times(queue)
        assert await move_retries(queue, step, NOW + step) == 5
        after = await times(queue)
        for number in range(5):
            scheduled_at, due_at = after[f"evt_{number}"]
            assert scheduled_at == NOW - number + step
            assert due_at == NOW - number + step + 100.0
        assert after["evt_new"] == before["evt_new"]
        assert after["evt_pending"] == before["evt_pending"]


async def test_a_retry_that_changed_meanwhile_keeps_its_new_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_shift, "STEP_ROWS", 1)
    async with opened(tmp_path / "queue.db") as queue:
        await fail(queue, "evt_1", now=NOW - 2)
        await fail(queue, "evt_2", now=NOW - 1)
        shift = queue.shift_retries
        moved = 0

        async def interrupted(retries: Retries, step: float) -> None:
            nonlocal moved
            await shift(retries, step)
            moved += 1
            if moved == 1:
                # Attempted between two steps, by the new clock.
                new = (NOW + HOUR + 5, NOW + HOUR + 105)
                await inside(
                    queue,
                    lambda db, *_: db.execute(
                        "UPDATE deliveries SET scheduled_at = ?, due_at = ? WHERE seq = 2", new
                    ).fetchall(),
                )

        monkeypatch.setattr(queue, "shift_retries", interrupted)
        await move_retries(queue, HOUR, NOW + HOUR)
        assert await times(queue) == {
            "evt_1": (NOW - 2 + HOUR, NOW + 98 + HOUR),
            "evt_2": (NOW + HOUR + 5, NOW + HOUR + 105),
        }


async def test_a_locked_queue_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clock_shift, "STORAGE_RETRY_S", 0.01)
    async with opened(tmp_path / "queue.db") as queue:
        await fail(queue, "evt_1", now=NOW)
        shift = queue.shift_retries
        errors: list[Exception] = [QueueUnavailable(tmp_path, "another process holds its lock")]

        async def busy_once(retries: Retries, step: float) -> None:
            if errors:
                raise errors.pop()
            await shift(retries, step)

        monkeypatch.setattr(queue, "shift_retries", busy_once)
        assert await move_retries(queue, HOUR, NOW + HOUR) == 1
        assert (await times(queue))["evt_1"] == (NOW + HOUR, NOW + 100 + HOUR)


async def test_the_newest_time_is_of_what_waits_and_of_endpoints(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        assert await queue.looks.newest_decision() == 0.0
        await fail(queue, "evt_1", now=NOW - 7)
        assert await queue.looks.newest_decision() == NOW - 7
        health = Health(failed_since=NOW + 3, released_at=NOW + 9, held_until=NOW + 60)
        await fail(queue, "evt_2", now=NOW, health=health)
        assert await queue.looks.newest_decision() == NOW + 9


async def test_endpoints_move_with_the_clock(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        health = Health(failed_since=NOW, held_until=NOW + 60)
        await fail(queue, "evt_1", now=NOW, health=health)
        await move_endpoints(queue, -HOUR, NOW - HOUR)
        moved = (await queue.health())[URL]
        assert (moved.failed_since, moved.held_until) == (NOW - HOUR, NOW + 60 - HOUR)
        assert moved.released_at is None


async def test_endpoints_that_are_not_held_stay_so(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        await fail(queue, "evt_1", now=NOW, health=Health(failures=1, failed_since=NOW))
        await move_endpoints(queue, HOUR, NOW)
        assert (await queue.health())[URL].held_until == 0.0


async def test_what_an_attempt_has_written_since_a_step_is_not_moved_again(tmp_path: Path) -> None:
    other = "https://other.example/hook"
    async with opened(tmp_path / "queue.db") as queue:
        before = Health(failures=1, failed_since=NOW, held_until=NOW + 60)
        for url in (URL, other):
            await queue.record_health(url, lambda: before, ())
        written = Health(failures=2, failed_since=NOW + HOUR, held_until=NOW + HOUR + 60)
        await queue.record_health(URL, lambda: written, ())
        await move_endpoints(queue, HOUR, NOW + HOUR, {URL: written}.get)
        found = await queue.health()
        assert found[URL] == written
        assert found[other].held_until == NOW + HOUR + 60


@pytest.mark.parametrize(("after_step_s", "moves"), [(-10.0, True), (0.5, False)])
async def test_a_release_that_came_after_a_step_is_not_moved(
    tmp_path: Path, after_step_s: float, moves: bool
) -> None:
    released_at = NOW + after_step_s
    async with opened(tmp_path / "queue.db") as queue:
        await inside(
            queue,
            lambda db, *_: db.execute("UPDATE subscriptions SET released_at = ?", (released_at,)),
        )
        await move_endpoints(queue, -HOUR, NOW)
        found = await seen(
            queue, lambda db: db.execute("SELECT released_at FROM subscriptions").fetchone()
        )
    assert found == (released_at - HOUR if moves else released_at,)


class Steady:
    """A clock that says one moment, however late it is asked."""

    def __init__(self, now: float) -> None:
        self.moment = now

    def now(self) -> float:
        return self.moment


async def start_at(queue: Queue, now: float) -> StartStep:
    return await step_at_start(Steady(now), queue)  # type: ignore[arg-type]  # all of it that is used


@pytest.mark.parametrize("days", [1.5, 31, 400])
async def test_a_gap_at_the_start_moves_each_wait_and_the_way_back_restores_it(
    tmp_path: Path, days: float
) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        await inside(queue, lambda db, *_: mark_seen(db, NOW - 60))
        health = Health(failures=1, failed_since=NOW, held_until=NOW + 50)
        await fail(queue, "evt_old", now=NOW - HOUR)
        await fail(queue, "evt_new", now=NOW, health=health)
        before = await times(queue)
        ahead = NOW + days * DAY
        assert await start_at(queue, ahead) == StartStep(certain=True)
        moved = await times(queue)
        for event_id, (scheduled, due) in moved.items():
            assert scheduled == pytest.approx(before[event_id][0] + days * DAY)
            assert due == pytest.approx((before[event_id][1] or 0) + days * DAY)
        assert (await queue.health())[URL].held_until == pytest.approx(ahead + 50)
        # The next start by the same clock finds no gap; one by the right clock finds a step back.
        assert await start_at(queue, ahead + 5) == StartStep()
        assert await times(queue) == moved
        step = (await start_at(queue, NOW + 8)).seconds
        assert step == pytest.approx(NOW + 8 - ahead)
        await move_retries(queue, step, NOW + 8)
        for event_id, (_, due) in (await times(queue)).items():
            assert due == pytest.approx(before[event_id][1], abs=10)


async def test_a_kill_while_a_gap_is_dealt_with_moves_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class KilledError(Exception):
        pass

    monkeypatch.setattr(clock_shift, "STEP_ROWS", 1)
    async with opened(tmp_path / "queue.db") as queue:
        await inside(queue, lambda db, *_: mark_seen(db, NOW - 60))
        for number in range(4):
            await fail(queue, f"evt_{number}", now=NOW - number)
        before = await times(queue)
        shift, calls = queue.shift_retries, 0

        async def killed(retries: Retries, step: float) -> None:
            nonlocal calls
            calls += 1
            if calls > 2:
                raise KilledError
            await shift(retries, step)

        with monkeypatch.context() as patch:
            patch.setattr(queue, "shift_retries", killed)
            with pytest.raises(KilledError):
                await start_at(queue, NOW + 31 * DAY)
        assert (await start_at(queue, NOW + 31 * DAY + 30)).certain
        for event_id, (_, due) in (await times(queue)).items():
            assert due == pytest.approx((before[event_id][1] or 0) + 31 * DAY, abs=60)


async def test_a_step_back_soon_after_the_start_leaves_what_an_earlier_process_scheduled(
    tmp_path: Path,
) -> None:
    """The clock was five hours ahead from the start on: a machine whose clock has local time."""
    async with opened(tmp_path / "queue.db") as queue:
        await fail(queue, "evt_right", now=NOW)
        await fail(queue, "evt_wrong", now=NOW + 5 * HOUR)
        await move_retries(queue, -5 * HOUR, NOW + 8, certain=False)
        assert await times(queue) == {
            "evt_right": (NOW, NOW + 100),
            "evt_wrong": (NOW, NOW + 100),
        }
