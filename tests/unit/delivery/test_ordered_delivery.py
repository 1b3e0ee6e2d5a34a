"""Events with the same key are sent one after the other, whatever receivers and operators do."""

from collections import defaultdict
from dataclasses import replace
from typing import Any

import httpx
import pytest
import trio
from endpoint_bench import EPOCH, Bench, subscription
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_queue import MemoryQueue
from trio.testing import MockClock

from relayd.core.delivery import AttemptRecord, Delivery, State, decide
from relayd.core.matching import Selection
from relayd.core.order import order_by
from relayd.queue.values import Claim, Want

ORDERED = {
    hold: subscription(
        selection=Selection(("*",), order_by=order_by("data.object.id", hold=hold)),
        retry=(5.0, 20.0),
    )
    for hold in (False, True)
}
KEYS = st.sampled_from(["a", "a", "b", None])
ACTS = st.tuples(
    st.sampled_from([0.0, 0.4, 3.0, 30.0]),
    st.sampled_from(["add", "add", "release", "cancel", "replay"]),
    st.integers(1, 12),
    KEYS,
)


class CountedQueue(MemoryQueue):
    """Counts how often it is asked."""

    claims = 0

    async def claim(self, want: Want) -> Claim:
        self.claims += 1
        assert self.claims < 1000, "a claim that starts nothing is made again at once"
        await trio.lowlevel.checkpoint()
        return await super().claim(want)


class Judge:
    """A receiver that sees which deliveries are under way, and fails as it is told."""

    def __init__(self, queue: MemoryQueue, keys: dict[int, str | None], answers: list[int]) -> None:
        self.queue, self.keys, self.answers = queue, keys, answers
        self.under_way: defaultdict[str, list[int]] = defaultdict(list)
        self.arrived: defaultdict[str, list[int]] = defaultdict(list)
        self.wrong: list[str] = []
        self.replayed: set[int] = set()

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        seq = int(request.headers["X-LocallyGrown-Delivery"].rpartition("_")[2])
        key = self.keys[seq]
        ordered = key is not None and self.queue.rows[seq].order_key is not None
        if ordered and key is not None:
            if self.under_way[key]:
                self.wrong.append(f"{seq} while {self.under_way[key]} of {key} is under way")
            later = [each for each in self.arrived[key] if each > seq]
            if later and seq not in self.replayed:
                self.wrong.append(f"{seq} after {later}")
            self.under_way[key].append(seq)
            self.arrived[key].append(seq)
        try:
            await trio.sleep(0.5)
            return httpx.Response(self.answers.pop() if self.answers else 200)
        finally:
            if ordered and key is not None:
                self.under_way[key].remove(seq)


async def run(
    acts: list[tuple[float, str, int, str | None]], answers: list[int], hold: bool
) -> None:
    bench = Bench()
    keys: dict[int, str | None] = {}
    judge = bench.answer = Judge(bench.queue, keys, answers)
    queue = bench.queue
    async with bench.running(subscriptions=(ORDERED[hold],)) as task:
        for wait_s, act, number, key in acts:
            await trio.sleep(wait_s)
            row = queue.rows.get(number)
            if act == "add":
                keys[queue.add(bench.now(), order_key=key)] = key
                task.note("books", 0.0)
            elif act == "release":
                queue.release_now("books")
                task.attempt_released("books")
            elif row is not None and act == "cancel":
                operate(queue, number, State.CANCELLED)
                task.note("books", 0.0)
            elif row is not None and row.due_at is None:
                judge.replayed.add(number)
                operate(queue, number, State.PENDING, due_at=bench.now())
                task.note("books", 0.0)
        await trio.sleep(1000.0)
        if hold:  # what was given up is sent again, one after the other
            for _ in range(20):
                for number, each in list(queue.rows.items()):
                    if each.delivery.state is State.EXHAUSTED and each.order_key is not None:
                        operate(queue, number, State.PENDING, due_at=bench.now())
                        judge.answers.clear()
                task.note("books", 0.0)
                await trio.sleep(100.0)
    assert judge.wrong == []
    assert {each.due_at for each in queue.rows.values()} <= {None}, "nothing is blocked for ever"


def operate(queue: MemoryQueue, seq: int, state: State, due_at: float | None = None) -> None:
    """Do what the operator's cancel or replay does to a row."""
    row = queue.rows[seq]
    blocks = row.delivery.state is State.EXHAUSTED and row.order_key is not None
    if state is State.CANCELLED and row.due_at is None and not blocks:
        return
    if state is State.PENDING and row.delivery.state is State.DELIVERED:
        return
    row.delivery = replace(row.delivery, state=state, step=0)
    row.due_at = due_at
    queue.leave_order(row)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(ACTS, min_size=4, max_size=20),
    st.lists(st.sampled_from([200, 200, 500, 429]), max_size=25),
    st.booleans(),
)
def test_order_holds_whatever_happens(
    acts: list[tuple[float, str, int, str | None]], answers: list[int], hold: bool
) -> None:
    trio.run(run, acts, answers, hold, clock=MockClock(autojump_threshold=0))


async def test_keys_do_not_wait_for_each_other(autojump_clock: MockClock) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        failing = request.headers["X-LocallyGrown-Delivery"] == "dlv_test_1"
        return httpx.Response(500 if failing else 200)

    bench = Bench(answer=answer)
    for key in ("a", "a", "b", "b", None):
        bench.queue.add(EPOCH, order_key=key)
    async with bench.running(subscriptions=(ORDERED[False],)):
        await trio.sleep(1.0)
        pending = [seq for seq, row in bench.queue.rows.items() if row.due_at is not None]
        assert pending == [1, 2]
        await trio.sleep(60.0)
    assert bench.queue.states() == {
        1: State.EXHAUSTED,
        **dict.fromkeys(range(2, 6), State.DELIVERED),
    }


async def test_the_next_one_waits_for_the_attempt_of_one_that_is_cancelled(
    autojump_clock: MockClock,
) -> None:
    async def answer(_: httpx.Request) -> httpx.Response:
        await trio.sleep(5.0)
        return httpx.Response(200)

    bench = Bench(answer=answer)
    for _ in range(2):
        bench.queue.add(EPOCH, order_key="a")
    async with bench.running(subscriptions=(ORDERED[False],)) as task:
        await trio.sleep(1.0)
        operate(bench.queue, 1, State.CANCELLED)
        task.note("books", bench.now())
        await trio.sleep(60.0)
    assert bench.most_under_way == 1
    assert bench.starts == pytest.approx([0.0, 5.0], abs=0.01)
    assert set(bench.queue.states().values()) == {State.DELIVERED}


async def test_the_next_one_has_its_turn_when_the_one_before_it_is_quarantined(
    autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(delivery: Delivery, *given: Any, **others: Any) -> AttemptRecord:
        if delivery.seq == 1:
            raise KeyError("a defect")
        return decide(delivery, *given, **others)

    monkeypatch.setattr("relayd.delivery.endpoint_task.decide", broken)
    bench = Bench()
    for _ in range(2):
        bench.queue.add(EPOCH, order_key="a")
    async with bench.running(subscriptions=(ORDERED[False],)):
        await trio.sleep(1.0)
    assert bench.queue.states() == {1: State.EXHAUSTED, 2: State.DELIVERED}


async def test_one_that_waits_for_the_attempt_of_a_cancelled_one_delays_no_other_key(
    autojump_clock: MockClock,
) -> None:
    async def answer(request: httpx.Request) -> httpx.Response:
        await trio.sleep(5.0 if request.headers["X-LocallyGrown-Delivery"] == "dlv_test_1" else 0.1)
        return httpx.Response(200)

    bench = Bench(queue=CountedQueue(), answer=answer)
    assert isinstance(bench.queue, CountedQueue)
    for _ in range(3):
        bench.queue.add(EPOCH, order_key="a")
    # Of two attempts, one is made for the cancelled delivery: there is room for one more.
    async with bench.running(max_in_flight=2, subscriptions=(ORDERED[False],)) as task:
        await trio.sleep(1.0)
        operate(bench.queue, 1, State.CANCELLED)
        for key in ("b", "c"):
            bench.queue.add(bench.now(), order_key=key)
        claims = bench.queue.claims
        task.note("books", bench.now())
        await trio.sleep(1.0)
        assert [bench.queue.rows[each].delivery.state for each in (4, 5)] == [State.DELIVERED] * 2
        assert not task.pulse.waits or not (await bench.queue.claim(task.pulse.want)).deliveries
        # The next one of its key is cancelled, too: the one behind that waits for the same attempt.
        operate(bench.queue, 2, State.CANCELLED)
        task.note("books", bench.now())
        await trio.sleep(1.0)
        assert bench.queue.claims - claims < 10
        assert bench.queue.states()[3] is State.PENDING
        await trio.sleep(3.0)
    assert bench.starts[-1] == pytest.approx(5.0, abs=0.01)
    assert bench.queue.states()[3] is State.DELIVERED


async def test_one_that_was_handed_over_waits_for_the_attempt_under_its_old_name(
    autojump_clock: MockClock,
) -> None:
    async def answer(_: httpx.Request) -> httpx.Response:
        await trio.sleep(5.0)
        return httpx.Response(200)

    bench = Bench(queue=CountedQueue(), answer=answer)
    assert isinstance(bench.queue, CountedQueue)
    bench.queue.add(EPOCH, "mail")
    both = (subscription("mail"), subscription("books"))
    async with bench.running(max_in_flight=2, subscriptions=both) as task:
        await trio.sleep(1.0)
        # Cancelled, renamed and replayed while its attempt goes on.
        operate(bench.queue, 1, State.CANCELLED)
        row = bench.queue.rows[1]
        row.delivery = replace(row.delivery, subscription="books")
        operate(bench.queue, 1, State.PENDING, due_at=bench.now() - 0.5)
        bench.queue.add(bench.now(), "books")
        task.note("books", bench.now())
        claims = bench.queue.claims
        await trio.sleep(2.0)
        assert len(bench.starts) == 2
        assert bench.queue.claims - claims < 10
        await trio.sleep(10.0)
    # Its attempt succeeded: then nothing is left to do.
    assert bench.queue.states() == {1: State.DELIVERED, 2: State.DELIVERED}
    assert len(bench.starts) == 2
