"""Receivers that fail in part, on virtual time: the schedule holds, and alerts are few."""

from collections import Counter, defaultdict
from itertools import cycle, pairwise

import httpx
import pytest
import trio
from endpoint_bench import EPOCH, Bench, subscription
from hypothesis import example, given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from relayd.core.agenda import NOW
from relayd.core.delivery import State
from relayd.core.endpoint import MAX_THROTTLED_S
from relayd.core.release import Extra
from relayd.core.token_bucket import Rate

SCHEDULE = (120.0, 600.0, 2700.0)
LAST_S = sum(SCHEDULE)
EVENTS = 40
MOST_RELEASES = 4

ALL_ENDED_S = LAST_S + MAX_THROTTLED_S * EVENTS * (
    2 * (len(SCHEDULE) + 1)  # the schedule's attempts, and after a recovery one more a step
    + MOST_RELEASES
)
"""When all must have ended. A receiver that answers each attempt with 429 gets one in ten minutes."""


async def feed(bench: Bench, task: object, *, every_s: float, count: int) -> None:
    for _ in range(count):
        bench.queue.add(bench.now())
        task.note("books", NOW)  # type: ignore[attr-defined]  # an EndpointTask
        await trio.sleep(every_s)


def check_schedules(bench: Bench) -> None:
    """No delivery ended before its last time; one extra attempt a step after a recovery at most."""
    extras: Counter[tuple[int, int]] = Counter()
    first: dict[int, float] = {}
    for record in bench.queue.records:
        seq = record.delivery.seq
        first.setdefault(seq, record.decided_at)
        if record.delivery.extra is Extra.RECOVERY:
            extras[seq, record.delivery.step] += 1
        if record.state is State.EXHAUSTED:
            assert record.decided_at - first[seq] >= LAST_S - 0.001
    assert max(extras.values(), default=0) <= 1


def check_pace(bench: Bench) -> None:
    """While anything was left, no pause was longer than a step of the schedule and a hold."""
    longest = max((later - earlier for earlier, later in pairwise(bench.starts)), default=0.0)
    assert longest <= max(SCHEDULE) + MAX_THROTTLED_S + 1.0


@settings(deadline=None, max_examples=15)
@given(
    answers=st.lists(
        st.sampled_from(["200", "200", "503", "503", "500", "429", "503 Retry-After 90", "error"]),
        min_size=1,
        max_size=12,
    ),
    up_s=st.sampled_from([0.0, 5.0, 70.0, 400.0]),
    down_s=st.sampled_from([0.0, 5.0, 70.0, 400.0]),
    every_s=st.sampled_from([0.3, 5.0, 90.0]),
    releases=st.lists(st.floats(1.0, 4000.0), max_size=MOST_RELEASES),
)
@example(answers=["429"], up_s=0.0, down_s=0.0, every_s=0.3, releases=[])
@example(answers=["429"], up_s=0.0, down_s=400.0, every_s=90.0, releases=[])
@example(answers=["429", "503 Retry-After 90"], up_s=0.0, down_s=0.0, every_s=5.0, releases=[])
def test_whatever_a_receiver_answers(
    answers: list[str], up_s: float, down_s: float, every_s: float, releases: list[float]
) -> None:
    async def run() -> None:
        coming = cycle(answers)

        async def answer(_: httpx.Request) -> httpx.Response:
            await trio.sleep(0.05)
            moment = (bench.now() - EPOCH) % (up_s + down_s + 1.0)
            status = "200" if moment < up_s else "503" if moment < up_s + down_s else next(coming)
            if status == "error":
                raise httpx.ConnectError("refused")
            code, *asked = status.split(" Retry-After ")
            return httpx.Response(int(code), headers={"Retry-After": asked[0]} if asked else {})

        async def release() -> None:
            for moment in sorted(releases):
                await trio.sleep(max(0.0, EPOCH + moment - bench.now()))
                bench.queue.release_now("books")
                task.attempt_released("books")
                await task.endpoint_health.lift_hold()

        bench = Bench(answer=answer)
        async with (
            bench.running(Rate(100, 60.0), subscriptions=(subscription(retry=SCHEDULE),)) as task,
            trio.open_nursery() as nursery,
        ):
            nursery.start_soon(release)
            await feed(bench, task, every_s=every_s, count=EVENTS)
            with trio.fail_after(ALL_ENDED_S):
                while not set(bench.queue.states().values()) <= {State.DELIVERED, State.EXHAUSTED}:
                    await trio.sleep(60)
            assert len(bench.queue.states()) == EVENTS
        check_schedules(bench)
        check_pace(bench)

    trio.run(run, clock=MockClock(autojump_threshold=0))


@pytest.mark.parametrize("kind", ["every second one", "at random", "one of two types"])
async def test_half_of_the_responses_are_503_at_20_events_a_second(
    autojump_clock: MockClock, kind: str
) -> None:
    number = 0
    served: defaultdict[str, int] = defaultdict(int)

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal number
        number += 1
        await trio.sleep(0.01)
        delivery = request.headers["X-LocallyGrown-Delivery"]
        served[delivery] += 1
        fails = {
            "every second one": number % 2 == 0,
            "at random": (number * 2_654_435_761) % 1000 < 500,
            "one of two types": int(delivery.rpartition("_")[2]) % 2 == 0,
        }[kind]
        return httpx.Response(503 if fails else 200)

    bench = Bench(answer=answer)
    async with bench.running(subscriptions=(subscription(retry=SCHEDULE),)) as task:
        await feed(bench, task, every_s=0.05, count=20 * 70)
        await feed(bench, task, every_s=2.0, count=265)
        told = Counter(each.type for each in bench.queue.told)
        assert max(told.values()) == told["relayd.endpoint.failing"] == 1
        assert told["relayd.endpoint.recovered"] == 0
    check_schedules(bench)
