"""Events with the same key are sent one after the other, whatever receivers and operators do."""

from collections import defaultdict
from dataclasses import replace

import httpx
import trio
from endpoint_bench import EPOCH, Bench, subscription
from hypothesis import given, settings
from hypothesis import strategies as st
from memory_queue import MemoryQueue
from trio.testing import MockClock

from relayd.core.delivery import State
from relayd.core.matching import Selection
from relayd.core.order import order_by

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
                task.release("books")
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
    assert set(bench.queue.states().values()) == {State.DELIVERED}
