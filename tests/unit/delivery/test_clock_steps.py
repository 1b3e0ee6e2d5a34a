"""A clock that is set while attempts go on: what is written in between has its times once moved."""

from pathlib import Path
from typing import cast

import httpx
import pytest
import trio
from endpoint_bench import EPOCH
from memory_writer import MemoryWriter
from processes import write_config
from trio.testing import MockClock

from relayd.clock import Clock, StartStep, Timekeeping
from relayd.config.load import load_config
from relayd.core.endpoint import Health
from relayd.crash_journal import AtWork
from relayd.delivery.dispatch import Dispatch
from relayd.queue.interface import QueueUnavailable, QueueWriter
from relayd.queue.values import Declared, Recording
from relayd.transport.client import Transport

URL = "https://app.example/hook"
HOUR = 3600.0
SHIFT_S = 1.0


class SlowWriter(MemoryWriter):
    """A queue whose writer is busy for a second when the endpoints' times are to move."""

    async def shift_endpoints(self, step: float, stepped_at: float, known: object) -> None:
        await trio.sleep(SHIFT_S)
        await super().shift_endpoints(step, stepped_at, known)  # type: ignore[arg-type]  # passed on


class LockedWriter(MemoryWriter):
    """A queue that another process locks for some time."""

    locked_until = 0.0

    async def record(self, recording: Recording) -> bool:
        self._open()
        return await super().record(recording)

    async def shift_endpoints(self, step: float, stepped_at: float, known: object) -> None:
        self._open()
        await super().shift_endpoints(step, stepped_at, known)  # type: ignore[arg-type]  # passed on

    def _open(self) -> None:
        if trio.current_time() < self.locked_until:
            raise QueueUnavailable(Path("queue.db"), "another process holds its lock")


class Receiver(httpx.MockTransport):
    def __init__(self) -> None:
        super().__init__(lambda _: httpx.Response(429, headers={"Retry-After": "300"}))

    def close_idle(self, now: float) -> None:
        """Do nothing: there are no connections."""


@pytest.mark.parametrize("step", [HOUR, -HOUR])
@pytest.mark.parametrize("written_in_between", [True, False])
async def test_health_that_an_attempt_writes_while_times_move_is_moved_once(
    autojump_clock: MockClock, tmp_path: Path, step: float, written_in_between: bool
) -> None:
    config = load_config(
        write_config(tmp_path, {"books": {"url": URL, "retry": ["10h"], "rate_limit": "10000/s"}}),
        environ={},
    )
    began, offset = trio.current_time(), 0.0
    clock = Clock(lambda: EPOCH + trio.current_time() - began + offset, trio.current_time)
    queue = SlowWriter(clock=clock.now)
    await queue.declare([Declared("books", URL, True)])
    queue.healths["https://gone.example/"] = Health(failures=1, failed_since=EPOCH)
    dispatch = Dispatch(
        queue,
        health={},
        make_transport=lambda *_: cast("Transport", Receiver()),
        at_work=AtWork.unrecorded(),
        clock=clock.now,
        jitter=lambda: 0.0,
    )

    async def attempt() -> None:
        queue.add(clock.now(), "books")
        dispatch.wake(["books"])
        await trio.sleep(0.2)

    async with trio.open_nursery() as nursery:
        await nursery.start(dispatch.run)
        dispatch.apply(config)
        nursery.start_soon(Timekeeping(clock, cast("QueueWriter", queue), dispatch).run)
        await attempt()
        held_s = queue.healths[URL].held_until - clock.now()
        assert 290 < held_s <= 300
        offset += step
        await trio.sleep(1.3)  # it has followed, and the queue is busy
        assert clock.now() == pytest.approx(EPOCH + trio.current_time() - began + step)
        if written_in_between:
            assert await dispatch.lift_hold(URL)
            await attempt()
            assert queue.healths[URL] == dispatch.health_of(URL)
        await trio.sleep(SHIFT_S + 0.5)
        nursery.cancel_scope.cancel()
    known = dispatch.health_of(URL)
    assert known is not None
    assert queue.healths[URL] == known
    assert 290 < known.held_until - clock.now() <= 300
    assert known.failed_since is not None
    assert abs(known.failed_since - clock.now()) < 10
    # Of what does not run, the queue alone knows.
    assert queue.healths["https://gone.example/"].failed_since == EPOCH + step


@pytest.mark.parametrize("step", [HOUR, -HOUR])
async def test_what_is_decided_around_a_step_while_the_queue_is_locked_keeps_its_wait(
    autojump_clock: MockClock, tmp_path: Path, step: float
) -> None:
    """Decided before the step and written after it; and decided after it, before the others move."""
    config = load_config(
        write_config(tmp_path, {"books": {"url": URL, "retry": ["10h"], "rate_limit": "10000/s"}}),
        environ={},
    )
    began, offset = trio.current_time(), 0.0
    clock = Clock(lambda: EPOCH + trio.current_time() - began + offset, trio.current_time)
    queue = LockedWriter(clock=clock.now)
    await queue.declare([Declared("books", URL, True)])
    failing = httpx.MockTransport(lambda _: httpx.Response(500))
    failing.close_idle = lambda _: None  # type: ignore[attr-defined]  # there are no connections
    dispatch = Dispatch(
        queue,
        health={},
        make_transport=lambda *_: cast("Transport", failing),
        at_work=AtWork.unrecorded(),
        clock=clock.now,
        jitter=lambda: 0.0,
    )

    async def attempt() -> None:
        queue.add(clock.now(), "books")
        dispatch.wake(["books"])
        await trio.sleep(0.2)

    async with trio.open_nursery() as nursery:
        await nursery.start(dispatch.run)
        dispatch.apply(config)
        timekeeping = Timekeeping(clock, cast("QueueWriter", queue), dispatch)
        nursery.start_soon(timekeeping.run, StartStep(certain=True))
        await attempt()
        # The endpoints' times are tried again at full seconds, the attempts' results 0.2 s later.
        queue.locked_until = trio.current_time() + 30.4
        await attempt()
        offset += step
        await trio.sleep(1.3)  # it has followed
        await attempt()
        await trio.sleep(60)
        nursery.cancel_scope.cancel()
    waits = [each.due_at - clock.now() for each in queue.rows.values() if each.due_at is not None]
    assert len(waits) == 3
    assert waits == pytest.approx([10 * HOUR] * 3, abs=70)


async def test_a_release_that_failed_is_due_at_its_moved_time(
    autojump_clock: MockClock, tmp_path: Path
) -> None:
    """The clock is set back while an extra attempt is under way: its schedule stays, and has moved."""
    config = load_config(
        write_config(tmp_path, {"books": {"url": URL, "retry": ["100s"], "rate_limit": "10000/s"}}),
        environ={},
    )
    began, offset = trio.current_time(), 0.0
    clock = Clock(lambda: EPOCH + trio.current_time() - began + offset, trio.current_time)
    queue = MemoryWriter(clock=clock.now)
    await queue.declare([Declared("books", URL, True)])
    requests: list[float] = []

    async def slow(_: httpx.Request) -> httpx.Response:
        requests.append(trio.current_time() - began)
        await trio.sleep(5)
        return httpx.Response(500)

    failing = httpx.MockTransport(slow)
    failing.close_idle = lambda _: None  # type: ignore[attr-defined]  # there are no connections
    dispatch = Dispatch(
        queue,
        health={},
        make_transport=lambda *_: cast("Transport", failing),
        at_work=AtWork.unrecorded(),
        clock=clock.now,
        jitter=lambda: 0.0,
    )
    async with trio.open_nursery() as nursery:
        await nursery.start(dispatch.run)
        dispatch.apply(config)
        timekeeping = Timekeeping(clock, cast("QueueWriter", queue), dispatch)
        nursery.start_soon(timekeeping.run, StartStep(certain=True))
        queue.add(clock.now(), "books")
        dispatch.wake(["books"])
        await trio.sleep(10)  # it has failed, and is due at 105 s
        await queue.retry([1])
        dispatch.attempt_released(["books"])
        await trio.sleep(1)
        offset -= HOUR
        await trio.sleep(200)
        nursery.cancel_scope.cancel()
    assert requests == pytest.approx([0, 10, 105], abs=3)
