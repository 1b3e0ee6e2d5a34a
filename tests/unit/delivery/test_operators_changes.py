"""An endpoint's loop while the operator changes what it works on."""

from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest
import trio
from endpoint_bench import EPOCH, URL, Bench, subscription
from memory_queue import MemoryQueue
from trio.testing import MockClock

from relayd.at_work import AtWork
from relayd.core.delivery import State
from relayd.core.endpoint import Endpoint, Health
from relayd.core.outcome import Failure, Outcome
from relayd.core.token_bucket import Rate
from relayd.database import DatabaseFullError
from relayd.delivery.endpoint_task import EndpointTask
from relayd.delivery.in_flight import InFlight
from relayd.delivery.time_limits import TimeLimits
from relayd.queue.claims import Claim, Want
from relayd.queue.records import Recording


class ReplayingQueue(MemoryQueue):
    """Each delivery's second attempt finds that the delivery was replayed meanwhile."""

    async def record(self, recording: Recording) -> bool:
        record = recording.record
        if record.delivery.attempts != 1:
            return await super().record(recording)
        row = self.rows[record.delivery.seq]
        row.delivery = replace(row.delivery, state=State.PENDING, step=0, attempts=2)
        row.due_at = EPOCH
        self.records.append(record)
        return False


async def test_what_was_replayed_while_under_way_is_due_at_once(autojump_clock: MockClock) -> None:
    async def fail(_: httpx.Request) -> httpx.Response:
        return httpx.Response(500)

    bench = Bench(queue=ReplayingQueue(), answer=fail)
    bench.queue.add(EPOCH)
    async with bench.running(subscriptions=(subscription(retry=(120.0, 100_000.0)),)):
        await trio.sleep(1000)
    # At 0, 120, at once again, and by the schedule of the replay.
    assert [round(start - bench.starts[0]) for start in bench.starts] == [0, 120, 120, 240]


@dataclass
class SlowQueue(MemoryQueue):
    """A claim takes ten seconds."""

    async def claim(self, want: Want) -> Claim:
        found = await super().claim(want)
        await trio.sleep(10)
        return found


@pytest.mark.parametrize("limit", [1, 4, 60])
async def test_a_test_takes_no_token_that_was_promised(
    autojump_clock: MockClock, limit: int
) -> None:
    bench = Bench(queue=SlowQueue())
    for _ in range(500):
        bench.queue.add(EPOCH)
    limits = TimeLimits()
    task = EndpointTask(
        Endpoint(URL, Rate(limit, 60.0), 8),
        {"books": subscription()},
        queue=bench.queue,
        transport=httpx.MockTransport(bench.handle),
        health=Health(),
        in_flight=InFlight(),
        note_elsewhere=lambda *_: None,
        at_work=AtWork.unrecorded(),
        limits=limits,
        clock=lambda: EPOCH + trio.current_time(),
        jitter=lambda: 0.0,
    )
    taken: list[float] = []

    async def take() -> None:
        while True:
            if (wait_s := task.take_token()) == 0.0:
                taken.append(trio.current_time())
            else:
                assert wait_s > 0
            await trio.sleep(max(wait_s, 1.7))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(limits.run)
        nursery.start_soon(task.run)
        nursery.start_soon(take)
        await trio.sleep(1000)
        assert task.standing.tokens >= 0
        nursery.cancel_scope.cancel()
    assert taken
    assert bench.starts
    zero = trio.current_time() - 1000
    starts = sorted([*(each - zero for each in taken), *bench.starts])
    assert all(sum(begin <= start < begin + 60 for start in starts) <= limit for begin in starts)


async def test_a_test_that_succeeds_ends_an_outage(autojump_clock: MockClock) -> None:
    works = False

    async def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if works else 503)

    bench = Bench(answer=answer)
    for _ in range(20):
        bench.queue.add(EPOCH)
    taken = Outcome(0.1, 200)
    async with bench.running(subscriptions=(subscription(retry=(10_000.0,)),)) as task:
        assert not await task.after_test(taken)  # it does not fail yet
        await trio.sleep(100)
        assert task.health.failing
        assert set(bench.queue.states().values()) == {State.RETRYING}
        failed = len(bench.starts)
        # One that fails counts for nothing.
        before = task.health
        assert not await task.after_test(Outcome(0.1, 500, Failure.STATUS, "answered 500"))
        assert task.health == before

        works = True
        assert await task.after_test(taken)
        assert bench.queue.healths[URL].released_at == task.health.released_at is not None
        assert [each.type for each in bench.queue.told] == ["relayd.endpoint.recovered"]
        await trio.sleep(1)
        assert set(bench.queue.states().values()) == {State.DELIVERED}
        assert len(bench.starts) == failed + 20
        assert not await task.after_test(taken)  # it is through


async def test_an_outage_ends_though_the_disk_is_full(autojump_clock: MockClock) -> None:
    bench = Bench()
    bench.queue.add(EPOCH)
    bench.queue.record_errors.append(DatabaseFullError(Path("queue.db"), "the disk is full"))
    health = Health(9, EPOCH, EPOCH, "refused", None, EPOCH + 10_000, 1)
    async with bench.running(health=health) as task:
        assert await task.after_test(Outcome(0.1, 200))
        await trio.sleep(1)
        # A Retry-After holds all the same.
        assert bench.starts == []
        assert not task.health.failing
