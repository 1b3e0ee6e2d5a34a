"""When the watchdog is fed: on virtual time, with tasks that deliver, wait, hang and oversleep."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import structlog
import trio
from endpoint_bench import EPOCH, URL, subscription
from memory_queue import MemoryQueue
from trio.testing import MockClock

from relayd.core.acceptance import Acceptance, NewEvent
from relayd.core.agenda import NOW
from relayd.core.endpoint import Endpoint, Health
from relayd.core.token_bucket import Rate
from relayd.crash_journal import AtWork
from relayd.delivery.endpoint_task import EndpointTask
from relayd.delivery.in_flight import InFlight
from relayd.delivery.worker_pool import TimeLimits
from relayd.queue.interface import QueueBroken, QueueUnavailable
from relayd.queue.values import Claim, Want
from relayd.watchdog import Watchdog

FAST = Rate(1000, 1.0)
ALLOWED_S = 40.0


@dataclass
class Queue:
    """A queue in memory whose writer may hang, or refuse."""

    memory: MemoryQueue = field(default_factory=MemoryQueue)
    error: Exception | None = None
    hangs: bool = False
    accepted: int = 0

    async def accept(self, news: Sequence[NewEvent]) -> list[Acceptance]:
        assert news == []
        if self.hangs:
            await trio.sleep_forever()
        if self.error is not None:
            raise self.error
        self.accepted += 1
        return []

    async def claim(self, want: Want) -> Claim:
        return await self.memory.claim(want)


@dataclass
class Bench:
    clock: MockClock
    queue: Queue = field(default_factory=Queue)
    fed: int = 0
    status: int = 200
    hang: trio.Event | None = None

    def __post_init__(self) -> None:
        self.zero = self.clock.current_time()

    def now(self) -> float:
        return EPOCH + self.clock.current_time() - self.zero

    async def answer(self, _: httpx.Request) -> httpx.Response:
        if self.hang is not None:
            with trio.CancelScope(shield=True):
                await self.hang.wait()
        return httpx.Response(self.status)

    def feed(self) -> None:
        self.fed += 1

    @asynccontextmanager
    async def running(self, rate: Rate = FAST) -> AsyncIterator[EndpointTask]:
        limits = TimeLimits()
        task = EndpointTask(
            Endpoint(URL, rate, 1),
            {"books": subscription(retry=(3600.0,))},
            queue=self.queue.memory,
            transport=httpx.MockTransport(self.answer),
            health=Health(),
            in_flight=InFlight(),
            note_elsewhere=lambda *_: None,
            at_work=AtWork.unrecorded(),
            limits=limits,
            clock=self.now,
            jitter=lambda: 0.0,
        )
        watchdog = Watchdog(
            ALLOWED_S, queue=self.queue, pulses=lambda: {task: task.pulse}, feed=self.feed
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(limits.run)
            nursery.start_soon(task.run)
            nursery.start_soon(watchdog.run)
            try:
                yield task
            finally:
                if self.hang is not None:
                    self.hang.set()
                nursery.cancel_scope.cancel()


@asynccontextmanager
async def fed_meanwhile(bench: Bench, *, expected: bool) -> AsyncIterator[list[str]]:
    """Check whether the watchdog is fed often enough while the body runs; yields the reasons."""
    reasons: list[str] = []
    with structlog.testing.capture_logs() as lines:
        yield reasons
        before = bench.fed
        await trio.sleep(3 * ALLOWED_S)
        count = bench.fed - before
    reasons += [line["detail"] for line in lines if line["event"] == "watchdog_ping_withheld"]
    assert (count >= 9) == expected, (count, reasons)
    assert bool(reasons) != expected, reasons


async def test_it_is_fed_while_nothing_happens(autojump_clock: MockClock) -> None:
    bench = Bench(autojump_clock)
    async with bench.running(), fed_meanwhile(bench, expected=True):
        pass
    assert bench.queue.accepted >= 9, "each time the way of an event was gone"


async def test_it_is_fed_while_an_endpoint_is_down_limited_or_held(
    autojump_clock: MockClock,
) -> None:
    bench = Bench(autojump_clock)
    bench.status = 503
    async with bench.running(Rate(1, 3600.0)):
        for _ in range(5):
            bench.queue.memory.add(EPOCH)
        async with fed_meanwhile(bench, expected=True):
            pass


async def test_it_starves_when_the_queue_hangs(autojump_clock: MockClock) -> None:
    bench = Bench(autojump_clock)
    async with bench.running():
        await trio.sleep(ALLOWED_S)
        bench.queue.hangs = True
        async with fed_meanwhile(bench, expected=False) as reasons:
            pass
    assert reasons == ["the queue does not respond"]


@pytest.mark.parametrize("reason", ["the disk is full", "another process holds its lock"])
async def test_it_is_fed_while_the_disk_is_full_or_locked(
    autojump_clock: MockClock, reason: str
) -> None:
    bench = Bench(autojump_clock)
    bench.queue.error = QueueUnavailable(Path("queue.db"), reason)
    async with bench.running(), fed_meanwhile(bench, expected=True):
        pass


async def test_a_broken_queue_ends_the_daemon(autojump_clock: MockClock) -> None:
    bench = Bench(autojump_clock)
    bench.queue.error = QueueBroken(Path("queue.db"), "it was moved")
    with pytest.raises(ExceptionGroup) as raised:
        async with bench.running():
            await trio.sleep(ALLOWED_S)
    assert raised.value.split(QueueBroken)[1] is None


async def test_it_starves_when_an_attempt_hangs_past_its_deadline(
    autojump_clock: MockClock,
) -> None:
    bench = Bench(autojump_clock)
    bench.hang = trio.Event()
    async with bench.running():
        bench.queue.memory.add(EPOCH)
        await trio.sleep(2.9 * ALLOWED_S)
        assert bench.fed >= 9
        async with fed_meanwhile(bench, expected=False) as reasons:
            pass
        assert reasons[0] == "an attempt has been stuck for 130 s"
        bench.hang.set()
        await trio.sleep(ALLOWED_S)
        async with fed_meanwhile(bench, expected=True):
            pass


async def test_an_outcome_that_waits_for_the_disk_does_not_hang(autojump_clock: MockClock) -> None:
    bench = Bench(autojump_clock)
    full = QueueUnavailable(Path("queue.db"), "the disk is full")
    bench.queue.memory.record_errors = [full] * 1000
    async with bench.running():
        bench.queue.memory.add(EPOCH)
        await trio.sleep(400)
        async with fed_meanwhile(bench, expected=True):
            pass
    assert bench.queue.memory.records == []


async def test_it_starves_when_a_task_sleeps_though_something_is_due(
    autojump_clock: MockClock,
) -> None:
    bench = Bench(autojump_clock)
    async with bench.running() as task:
        await trio.sleep(ALLOWED_S)
        bench.queue.memory.add(bench.now())  # and nobody wakes the task
        async with fed_meanwhile(bench, expected=False) as reasons:
            pass
        assert reasons[0] == "1 endpoints are idle while deliveries are due"
        task.note("books", NOW)
        async with fed_meanwhile(bench, expected=True):
            pass
    assert len(bench.queue.memory.records) == 1


async def test_it_is_fed_under_load(autojump_clock: MockClock) -> None:
    bench = Bench(autojump_clock)
    async with bench.running() as task, trio.open_nursery() as nursery:

        async def produce() -> None:
            while True:
                bench.queue.memory.add(bench.now())
                await trio.sleep(0.5)  # the watchdog often looks before the task was woken
                task.note("books", NOW)
                await trio.sleep(0.01)

        nursery.start_soon(produce)
        async with fed_meanwhile(bench, expected=True):
            pass
        nursery.cancel_scope.cancel()
