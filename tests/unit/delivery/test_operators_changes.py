"""An endpoint's loop while the operator changes what it works on."""

from collections import Counter
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import httpx
import pytest
import trio
from endpoint_bench import EPOCH, URL, Bench, subscription
from memory_queue import MemoryQueue
from trio.testing import MockClock

from relayd.core.agenda import NOW
from relayd.core.delivery import State
from relayd.core.endpoint import Endpoint, Health
from relayd.core.outcome import Failure, Outcome
from relayd.core.release import Extra
from relayd.core.token_bucket import Rate
from relayd.crash_journal import AtWork
from relayd.delivery.endpoint_task import EndpointTask
from relayd.delivery.in_flight import InFlight
from relayd.delivery.worker_pool import TimeLimits
from relayd.queue.interface import QueueUnavailable
from relayd.queue.values import Claim, Recording, Want


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
            if (wait_s := task.endpoint_health.take_token()) == 0.0:
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


TAKEN = Outcome(0.1, 200)


async def test_a_test_that_succeeds_begins_a_recovery(autojump_clock: MockClock) -> None:
    works = False

    async def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200 if works else 503)

    bench = Bench(answer=answer)
    for _ in range(100):
        bench.queue.add(EPOCH)
    async with bench.running(
        Rate(60, 60.0), subscriptions=(subscription(retry=(10_000.0,)),)
    ) as task:
        await task.endpoint_health.after_test(TAKEN)  # it does not fail yet
        assert bench.queue.healths == {}
        await trio.sleep(150)
        assert task.health.failing
        assert set(bench.queue.states().values()) == {State.RETRYING}
        failed = len(bench.starts)
        # One that fails counts for nothing.
        before = task.health
        await task.endpoint_health.after_test(Outcome(0.1, 500, Failure.STATUS, "answered 500"))
        assert task.health == before

        works = True
        await task.endpoint_health.after_test(TAKEN)
        assert bench.queue.healths[URL] == task.health
        await trio.sleep(59)
        assert len(bench.starts) == failed
        await trio.sleep(120)
        assert task.health.failing_since is None
        assert bench.queue.told[-1].type == "relayd.endpoint.recovered"
        assert set(bench.queue.states().values()) == {State.DELIVERED}
        assert len(bench.starts) == failed + 100


async def test_a_recovery_is_written_and_reported_though_the_disk_is_full(
    autojump_clock: MockClock,
) -> None:
    bench = Bench()
    bench.queue.record_errors += [QueueUnavailable(Path("queue.db"), "the disk is full")] * 5
    health = Health(failing_since=EPOCH - 900, reported=True, succeeded_at=EPOCH - 60)
    async with bench.running(health=health) as task:
        await trio.sleep(4)
        assert bench.queue.told == []
        await trio.sleep(2)
        assert not task.health.failing
        assert bench.queue.healths[URL] == task.health
        assert [each.type for each in bench.queue.told] == ["relayd.endpoint.recovered"]


@pytest.mark.parametrize("by", ["operator", "test"])
async def test_a_day_that_a_receiver_asked_for_by_mistake_can_be_lifted(
    autojump_clock: MockClock, by: str
) -> None:
    answers = [httpx.Response(503, headers={"Retry-After": "86400"})]

    async def answer(_: httpx.Request) -> httpx.Response:
        return answers.pop() if answers else httpx.Response(200)

    bench = Bench(answer=answer)
    bench.queue.add(EPOCH)
    async with bench.running() as task:
        await trio.sleep(1)
        [told] = bench.queue.told
        assert told.type == "relayd.endpoint.throttled"
        bench.queue.add(bench.now())
        task.note("books", NOW)
        await trio.sleep(5000)
        assert len(bench.starts) == 1
        if by == "operator":
            bench.queue.release_now("books")
            assert await task.endpoint_health.lift_hold()
            assert not await task.endpoint_health.lift_hold()
        else:
            await task.endpoint_health.after_test(TAKEN)
        assert bench.queue.healths[URL].held_until == 0.0
        task.attempt_released("books")
        await trio.sleep(1)
    # Its own time had passed meanwhile, and what was held back goes out too.
    assert set(bench.queue.states().values()) == {State.DELIVERED}


async def test_a_release_gives_each_retry_one_attempt_each_time(
    autojump_clock: MockClock,
) -> None:
    async def fail(_: httpx.Request) -> httpx.Response:
        return httpx.Response(500)

    bench = Bench(answer=fail)
    for _ in range(5):
        bench.queue.add(EPOCH)
    async with bench.running(subscriptions=(subscription(retry=(3600.0, 3600.0)),)) as task:
        for releases in range(4):
            await trio.sleep(10)
            assert len(bench.starts) == 5 + 5 * releases
            bench.queue.release_now("books")
            task.attempt_released("books")
        await trio.sleep(20)
        assert set(bench.queue.states().values()) == {State.RETRYING}
        assert {each.step for each in bench.queue.records} == {1}
        numbers = [each.headers["X-LocallyGrown-Attempt"] for each in bench.requests]
        assert Counter(numbers) == {str(number): 5 for number in range(1, 6)}
        # The schedule goes on as if nothing had been, to its end.
        await trio.sleep(3600)
        assert len(bench.starts) == 30
        assert bench.starts[25] == pytest.approx(3600, abs=0.1)
        await trio.sleep(3600)
        assert set(bench.queue.states().values()) == {State.EXHAUSTED}
        assert len(bench.starts) == 35


async def test_what_fails_after_a_release_and_began_before_it_is_released(
    autojump_clock: MockClock,
) -> None:
    async def fail_slowly(_: httpx.Request) -> httpx.Response:
        await trio.sleep(5)
        return httpx.Response(401)

    bench = Bench(answer=fail_slowly)
    bench.queue.add(EPOCH)
    async with bench.running(subscriptions=(subscription(retry=(3600.0,)),)) as task:
        await trio.sleep(2)
        # It was signed with the secret of before, say.
        bench.queue.release_now("books")
        task.attempt_released("books")
        await trio.sleep(1000)
        assert [round(start) for start in bench.starts] == [0, 5]
        assert [each.delivery.extra for each in bench.queue.records] == [None, Extra.OPERATOR]
        # The extra attempt began after it: once is enough.
        assert {each.step for each in bench.queue.records} == {1}


async def test_429s_that_name_no_time_slow_the_endpoint_down(autojump_clock: MockClock) -> None:
    async def busy(_: httpx.Request) -> httpx.Response:
        await trio.sleep(0.1)
        return httpx.Response(429)

    bench = Bench(answer=busy)
    async with bench.running() as task:
        for _ in range(3600):
            bench.queue.add(bench.now())
            task.note("books", NOW)
            await trio.sleep(1)
    # 30 s, 1, 2, 4, 8 and 10 minutes apart: one at a time from the third failure on.
    waves = [
        start
        for index, start in enumerate(bench.starts[:-1])
        if bench.starts[index + 1] - start > 20
    ]
    gaps = [round(b - a) for a, b in pairwise(waves)]
    assert gaps[:5] == [30, 60, 120, 240, 480]
    assert len(bench.starts) < 20
