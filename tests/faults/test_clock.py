"""The wall clock is set while relayd runs, and while it is down: each wait stays what it was."""

import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
import trio
from faults.injection import false_clock, long_form, needs_faketime
from faults.producing import producer, until
from processes import make_spool, running, write_config
from receivers import answer, open_receiver

pytestmark = needs_faketime

HOUR = 3600.0
DAY = 86_400.0


def dues(folder: Path) -> dict[str, tuple[float, float]]:
    """Return when each delivery was scheduled, and when it is due, by its event's id."""
    with closing(sqlite3.connect(folder / "queue.db", timeout=10)) as db:
        rows = db.execute(
            "SELECT e.id, d.scheduled_at, d.due_at FROM deliveries d"
            " JOIN events e ON e.seq = d.event_seq WHERE d.state = 'retrying'"
        )
        return {event_id: (scheduled_at, due_at) for event_id, scheduled_at, due_at in rows}


def config(folder: Path, url: str, retry: list[str]) -> Path:
    make_spool(folder / "spool.db")
    return write_config(folder, {"books": {"url": url, "retry": retry, "rate_limit": "6000/min"}})


@pytest.mark.parametrize(
    "set_by",
    [
        HOUR,
        -HOUR,
        pytest.param(86_400.0, marks=long_form),
        pytest.param(-86_400.0, marks=long_form),
    ],
)
async def test_waits_stay_what_they_were_while_it_runs(tmp_path: Path, set_by: float) -> None:
    clock = false_clock(tmp_path)
    async with open_receiver(answer(500)) as receiver:
        path = config(tmp_path, receiver.url, ["30m", "30m"])
        async with running(path, env=clock.env) as relayd, producer(tmp_path) as each:
            for number in range(20):
                assert (await each.hand_over(f"evt_{number}"))["ok"]
            await until(lambda: len(dues(tmp_path)) == 20)
            attempts = len(receiver.requests)
            before = dues(tmp_path)
            clock.set(set_by)
            with trio.fail_after(15):
                line = await relayd.logged("clock_stepped")
            assert line["step_s"] == pytest.approx(set_by, abs=1.0)
            assert line["retries"] == 20
            await trio.sleep(1.5)
            after = dues(tmp_path)
            assert after.keys() == before.keys(), "none vanished, none was attempted"
            for event_id, (scheduled_at, due_at) in after.items():
                assert due_at - before[event_id][1] == pytest.approx(set_by, abs=1.0)
                assert due_at - scheduled_at == pytest.approx(1800.0, rel=0.11)
            # A few may have started in the moment before it was seen.
            assert len(receiver.requests) == attempts
            assert len(relayd.events("clock_stepped")) == 1


@pytest.mark.parametrize("set_by", [HOUR, -HOUR])
async def test_retries_come_in_their_own_time_after_a_step(tmp_path: Path, set_by: float) -> None:
    clock = false_clock(tmp_path)
    async with open_receiver(answer(500), answer(500), answer(200)) as receiver:
        path = config(tmp_path, receiver.url, ["3s"] * 3)
        async with running(path, env=clock.env) as relayd, producer(tmp_path) as each:
            assert (await each.hand_over("evt_1"))["ok"]
            with trio.fail_after(10):
                await relayd.logged("retry_scheduled", attempt=1)
            clock.set(set_by)
            with trio.fail_after(20):
                await relayd.logged("attempt_succeeded", attempt=3)
        first, second, third = (request.at for request in receiver.requests)
        assert 2.6 < second - first < 9.0
        assert 2.6 < third - second < 9.0


async def test_new_events_go_out_at_once_whatever_the_clock_does(tmp_path: Path) -> None:
    clock = false_clock(tmp_path)
    async with open_receiver() as receiver:
        path = config(tmp_path, receiver.url, ["1h"])
        async with running(path, env=clock.env) as relayd, producer(tmp_path) as each:
            for number, offset in enumerate([HOUR, -HOUR, 0.0, 5 * HOUR]):
                clock.set(offset)
                assert (await each.hand_over(f"evt_{number}"))["ok"]
                with trio.fail_after(10):
                    await relayd.logged("attempt_succeeded", event_id=f"evt_{number}")


async def test_a_clock_set_back_while_relayd_is_down_stops_nothing(tmp_path: Path) -> None:
    async with open_receiver(answer(500), answer(200)) as receiver:
        path = config(tmp_path, receiver.url, ["4s"])
        ahead = false_clock(tmp_path, HOUR)
        async with running(path, env=ahead.env) as relayd, producer(tmp_path) as each:
            assert (await each.hand_over("evt_1"))["ok"]
            with trio.fail_after(10):
                await relayd.logged("retry_scheduled")
        scheduled_at, _ = dues(tmp_path)["evt_1"]
        assert scheduled_at > time.time() + HOUR - 60, "it was scheduled by a clock that was ahead"
        async with running(path) as relayd:
            with trio.fail_after(10):
                await relayd.logged("attempt_succeeded")
        first, second = (request.at for request in receiver.requests)
        assert second - first > 3.5, "its wait was kept"


async def test_a_clock_set_forward_while_relayd_is_down_fires_nothing_at_once(
    tmp_path: Path,
) -> None:
    async with open_receiver(answer(500)) as receiver:
        make_spool(tmp_path / "spool.db")
        limits = {"rate_limit": "6000/min", "retry": ["30m"] * 5}
        path = write_config(tmp_path, {"books": {"url": receiver.url, **limits}})
        async with running(path), producer(tmp_path) as each:
            for number in range(100):
                assert (await each.hand_over(f"evt_{number}"))["ok"]
            await until(lambda: len(dues(tmp_path)) == 100)
        attempts = len(receiver.requests)
        write_config(tmp_path, {"books": {"url": receiver.url, **limits, "rate_limit": "60/min"}})
        ahead = false_clock(tmp_path, HOUR)
        async with running(path, env=ahead.env):
            await trio.sleep(3.0)
        # It cannot be told from an hour of rest: all are due, and the bucket spreads them.
        assert 1 <= len(receiver.requests) - attempts <= 6 + 4


def aged(folder: Path, days: float) -> None:
    """Let all that has ended have ended so many days ago."""
    with closing(sqlite3.connect(folder / "queue.db", timeout=10)) as db, db:
        back = days * DAY
        db.execute("UPDATE events SET accepted_at = accepted_at - ?", (back,))
        db.execute("UPDATE deliveries SET ended_at = ended_at - ? WHERE ended_at > 0", (back,))


def counted(folder: Path) -> tuple[int, ...]:
    with closing(sqlite3.connect(folder / "queue.db", timeout=10)) as db:
        return tuple(
            db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in ("events", "deliveries", "attempts", "attempt_counts")
        )


@pytest.mark.parametrize("days", [31, 400])
async def test_a_clock_far_ahead_for_some_seconds_at_the_start_changes_nothing(
    tmp_path: Path, days: int
) -> None:
    """A machine that boots before its time is set."""
    async with open_receiver(answer(200), answer(200), answer(500)) as receiver:
        path = config(tmp_path, receiver.url, ["30m"] * 5)
        async with running(path) as relayd, producer(tmp_path) as each:
            for number in range(2):
                assert (await each.hand_over(f"evt_{number}"))["ok"]
                with trio.fail_after(10):
                    await relayd.logged("attempt_succeeded", event_id=f"evt_{number}")
            for number in range(20):
                assert (await each.hand_over(f"evt_retry_{number}"))["ok"]
            await until(lambda: len(dues(tmp_path)) == 20)
        aged(tmp_path, 2)
        before, waiting = counted(tmp_path), dues(tmp_path)
        sent = len(receiver.requests)
        clock = false_clock(tmp_path, days * DAY)
        async with running(path, env=clock.env) as relayd, producer(tmp_path) as each:
            with trio.fail_after(10):
                await relayd.logged("clock_gap")
                await relayd.logged("retention_paused")
            for number in range(2):
                assert (await each.hand_over(f"evt_{number}"))["duplicate"]
            await trio.sleep(4.0)
            assert (await each.hand_over("evt_0"))["duplicate"]
            assert len(receiver.requests) == sent, "no retry fires"
            clock.set(0.0)
            with trio.fail_after(15):
                await relayd.logged("clock_stepped")
            await trio.sleep(2.0)
            assert len(receiver.requests) == sent, "nor do they once it is set right"
            assert counted(tmp_path) == before, "and no history is gone"
            after = dues(tmp_path)
            assert after.keys() == waiting.keys()
            for event_id, (scheduled_at, due_at) in after.items():
                assert due_at == pytest.approx(waiting[event_id][1], abs=60.0)
                assert scheduled_at == pytest.approx(waiting[event_id][0], abs=60.0)
            assert (await each.hand_over("evt_1"))["duplicate"]


@pytest.mark.parametrize("days", [31, 400])
async def test_a_clock_far_ahead_for_some_seconds_while_it_runs_changes_nothing(
    tmp_path: Path, days: int
) -> None:
    clock = false_clock(tmp_path)
    async with open_receiver(answer(200), answer(500)) as receiver:
        path = config(tmp_path, receiver.url, ["30m"] * 5)
        async with running(path, env=clock.env) as relayd, producer(tmp_path) as each:
            assert (await each.hand_over("evt_0"))["ok"]
            with trio.fail_after(10):
                await relayd.logged("attempt_succeeded")
            assert (await each.hand_over("evt_1"))["ok"]
            await until(lambda: len(dues(tmp_path)) == 1)
            waiting = dues(tmp_path)
            for offset in (days * DAY, 0.0):
                clock.set(offset)
                with trio.fail_after(15):
                    await until(
                        lambda: len(relayd.events("clock_stepped")) == 1 + (offset == 0.0)  # noqa: B023
                    )
                assert (await each.hand_over("evt_0"))["duplicate"]
                # Another retention has it look at once for what may go.
                limits = {"url": receiver.url, "retry": ["30m"] * 5, "rate_limit": "6000/min"}
                queue = {"path": "queue.db", "retention": "29d" if offset else "28d"}
                write_config(tmp_path, {"books": limits}, queue=queue)
                relayd.signal(signal.SIGHUP)
                await until(
                    lambda count=1 + (offset == 0.0): (
                        len(relayd.events("configuration_reloaded")) == count
                    )
                )
                await trio.sleep(2.0)
            assert dues(tmp_path)["evt_1"] == pytest.approx(waiting["evt_1"], abs=5.0)
        assert len(receiver.requests) == 2
        assert counted(tmp_path)[:3] == (2, 2, 2)


async def test_a_kill_while_the_clock_is_ahead_leaves_the_waits_as_they_were(
    tmp_path: Path,
) -> None:
    async with open_receiver(answer(500)) as receiver:
        path = config(tmp_path, receiver.url, ["30m"] * 5)
        async with running(path), producer(tmp_path) as each:
            for number in range(5):
                assert (await each.hand_over(f"evt_{number}"))["ok"]
            await until(lambda: len(dues(tmp_path)) == 5)
        waiting = dues(tmp_path)
        ahead = false_clock(tmp_path, 31 * DAY)
        async with running(path, env=ahead.env) as relayd:
            with trio.fail_after(10):
                await relayd.logged("started")
            relayd.signal(signal.SIGKILL)
            assert await relayd.wait() == -signal.SIGKILL
        async with running(path) as relayd:
            with trio.fail_after(10):
                await relayd.logged("clock_stepped")
            await trio.sleep(1.0)
            after = dues(tmp_path)
        assert after.keys() == waiting.keys()
        for event_id, (_, due_at) in after.items():
            assert due_at >= waiting[event_id][1] - 1.0, "none is early"
            assert due_at == pytest.approx(waiting[event_id][1], abs=120.0)
        assert len(receiver.requests) == 5
