"""The queue in memory answers as the SQLite one does, whatever is done to both, in any order."""

import json
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio
from events import make_event
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_file import FAILED, OK, URL
from queues_under_test import NAMES, OWN_TYPES, InMemory, InSQLite, UnderTest, declare

from relayd.core.acceptance import NewEvent, RejectedRow
from relayd.core.delivery import Delivery, decide
from relayd.core.endpoint import Health
from relayd.core.event import Rejection, SpoolRow
from relayd.core.feed import Entitlement, FeedCursor, FeedGapError, FeedWish
from relayd.core.operating_events import (
    Refused,
    reload_refused,
    source_recovered,
    source_unavailable,
)
from relayd.core.outcome import Failure, Outcome
from relayd.core.own_events import after_attempt
from relayd.queue.values import Cursor, Declared, Horizon, Recording, Want

SCHEDULE = (10.0, 60.0)
GONE = Outcome(0.1, status=410, failure=Failure.STATUS)
OTHER_URL = "https://other.example/hook"
SEQS = st.lists(st.integers(1, 8), min_size=1, max_size=8, unique=True)
SUBSCRIPTIONS = st.lists(st.sampled_from(NAMES), unique=True)

KEYS = st.sampled_from([None, "order_1", "order_1", "order_2"])

ACCEPT = st.tuples(st.just("accept"), st.integers(1, 9), st.booleans(), SUBSCRIPTIONS, KEYS)
ATTEMPT = st.tuples(st.just("attempt"), st.sampled_from([OK, FAILED, FAILED]))

STEPS = st.one_of(
    ACCEPT,
    ATTEMPT,
    ATTEMPT,  # most of what else is done needs something that was attempted
    st.tuples(st.just("claim")),
    st.tuples(st.just("finish"), st.sampled_from([OK, FAILED, FAILED, GONE])),
    st.tuples(st.just("release"), st.sampled_from(NAMES)),
    st.tuples(st.just("recover"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 11.0, 70.0, 601.0, 4000.0, -700.0])),
    st.tuples(st.just("quarantine"), st.integers(1, 4)),
    st.tuples(st.just("pause"), st.sampled_from(NAMES)),
    st.tuples(st.just("resume"), st.sampled_from(NAMES)),
    st.tuples(st.just("replay"), SEQS, st.booleans()),
    st.tuples(st.just("retry"), SEQS),
    st.tuples(st.just("retry"), SEQS),
    st.tuples(st.just("cancel"), SEQS),
    st.tuples(st.just("backfill"), st.sampled_from(NAMES), SEQS),
    st.tuples(
        st.just("declare"),
        st.dictionaries(
            st.sampled_from(NAMES),
            st.tuples(
                st.sampled_from([URL, OTHER_URL]),
                st.booleans(),
                st.sampled_from([b"a", b"b"]),
                st.booleans(),
            ),
        ),
    ),
    st.tuples(st.just("hand over"), st.booleans()),
    st.tuples(st.just("reject"), st.integers(1, 3)),
    st.tuples(st.just("drop_rejected"), SEQS),
    st.tuples(st.just("resubmit"), st.integers(1, 4), st.integers(1, 3)),
    st.tuples(st.just("prune"), st.sampled_from([0.0, 50.0, 3000.0])),
    st.tuples(st.just("prune rejected")),
    st.tuples(st.just("shift"), st.sampled_from([-3600.0, 3600.0]), st.booleans()),
    st.tuples(st.just("read feed"), st.sampled_from([1, 3, 100])),
    st.tuples(st.just("take own events")),
    st.tuples(st.just("report due")),
    st.tuples(st.just("refuse reload")),
    st.tuples(st.just("outage"), st.sampled_from(["a", "b"]), st.booleans()),
)  # fmt: skip

# Something is there from the beginning: in each state, and on the rejected list.
BEGIN: list[tuple[Any, ...]] = [
    ("accept", 1, False, list(NAMES)),
    ("attempt", FAILED),
    ("accept", 2, False, list(NAMES)),
    ("attempt", OK),
    ("accept", 3, False, list(NAMES)),
    ("reject", 1),
]


def shown(each: Delivery) -> tuple[object, ...]:
    found = (each.subscription, each.event_id, each.event_type, each.state, each.body)
    ordered = (each.sequence, each.order_key)
    return (each.seq, *found, each.attempts, each.step, each.due_at, each.extra, *ordered)


class Driver:
    """Does the steps to one queue, and keeps what is in flight at its endpoint."""

    def __init__(self, under_test: UnderTest) -> None:
        self.under_test = under_test
        self.queue = under_test.queue
        self.in_flight: dict[int, tuple[Delivery, int]] = {}
        self.recovery = 0
        self.cursor: FeedCursor | None = None

    async def do(self, step: tuple[Any, ...]) -> object:
        """Do one step; return what the queue answered."""
        name, values = step[0].replace(" ", "_"), step[1:]
        done: Callable[..., Awaitable[object]] = getattr(self, name, None) or getattr(
            self.queue, name
        )
        return await done(*values)

    async def accept(
        self, number: int, other: bool, names: list[str], key: str | None = None
    ) -> object:
        event = make_event(f"evt_{number}", data={"object": {"other": other}})
        keys = () if key is None else tuple((name, key) for name in sorted(names))
        return await self.queue.accept([NewEvent(event, "socket", tuple(sorted(names)), keys)])

    async def replay(self, seqs: list[int], delivered: bool) -> object:
        return await self.queue.replay(seqs, delivered=delivered)

    async def finish(self, outcome: Outcome) -> object:
        return [await self.record(seq, outcome) for seq in sorted(self.in_flight)]

    async def attempt(self, outcome: Outcome) -> object:
        return await self.claim(), await self.finish(outcome)

    async def recover(self, fails: bool) -> object:
        number = self.queue.next_release()
        self.recovery = 0 if fails else number
        return number

    async def wait(self, seconds: float) -> None:
        self.under_test.now += seconds

    async def quarantine(self, seq: int) -> object:
        if seq not in await self.under_test.rows():
            return None
        self.in_flight.pop(seq, None)
        return await self.queue.quarantine(seq, "a defect")

    async def declare(self, found: dict[str, tuple[str, bool, bytes, bool]]) -> object:
        declared = [Declared(name, *each) for name, each in found.items()]
        return await self.queue.declare(declared, OWN_TYPES)

    async def hand_over(self, back: bool) -> object:
        old, new = NAMES[::-1] if back else NAMES
        return await self.queue.hand_over(old, new, after=0, in_flight=tuple(self.in_flight))

    async def shift(self, seconds: float, certain: bool) -> object:
        now = self.under_test.now
        retries = await self.queue.looks.retries_before_step(seconds, now, now=now, certain=certain)
        await self.queue.shift_retries(retries, seconds)
        await self.queue.shift_endpoints(seconds, now, lambda _: None)
        return dict(zip(retries.seqs, retries.scheduled, strict=True))

    async def prune(self, retention: float) -> object:
        now = self.under_test.now
        horizon = Horizon(now - retention, now - 2 * retention)
        async with self.queue.survey() as survey:
            found = await survey.prunable(horizon, Cursor())
        return found.events, await self.queue.prune(horizon, found.events)

    async def prune_rejected(self) -> object:
        return await self.queue.prune_rejected(self.under_test.now)

    async def reject(self, number: int) -> object:
        row = SpoolRow(number, b"id", b"type", f"{number}".encode(), 1, None, None)
        rejected = [RejectedRow("spool", row, Rejection("bad", "it is bad"))]
        # Three such rows take less.
        return await self.queue.reject(rejected, most_bytes=1_000)

    async def resubmit(self, number: int, rejected: int) -> object:
        new = NewEvent(make_event(f"evt_{number}"), "cli", NAMES[:1])
        return await self.queue.resubmit(new, rejected)

    async def refuse_reload(self) -> None:
        await self.queue.report(
            [
                reload_refused(
                    Refused("failed", ("no",), 1, self.under_test.now), self.under_test.now
                )
            ]
        )

    async def outage(self, source: str, begins: bool) -> object:
        now = self.under_test.now
        if begins:
            event = source_unavailable(source, "it is missing", now, now)
            return await self.queue.begin_source_outage(source, now, event)
        await self.queue.end_source_outage(source, source_recovered(source, now, now))
        return None

    async def take_own_events(self) -> object:
        with trio.move_on_after(0.05):
            rows = await self.queue.outbox()
            await self.queue.remove_from_outbox(rows)
            return [
                # Each queue's ids have its own tag.
                (each.type, each.created, json.dumps(each.data).replace(self.queue.tag, "tag"))
                for each in (row.event for row in rows)
            ]
        return None

    async def claim(self) -> object:
        now, busy = self.under_test.now, frozenset(self.in_flight)
        names = tuple(name for name in NAMES if self.queue.holds.get(name) is None)
        claim = await self.queue.claim(
            Want(names, 100, now, busy, self.recovery, backlog_first=False)
        )
        release = self.queue.newest_release
        self.in_flight |= {each.seq: (each, release) for each in claim.deliveries}
        # `next_due` may also name the time of a retry that was released and found.
        return [shown(each) for each in claim.deliveries]

    async def record(self, seq: int, outcome: Outcome) -> bool:
        delivery, release = self.in_flight.pop(seq)
        now = self.under_test.now
        decided = decide(delivery, outcome, SCHEDULE, started_at=now, now=now, jitter=0.0)
        health = Health()
        reports = after_attempt(decided, URL, [], before=health, after=health)
        recording = Recording(decided, URL, None, tuple(reports), newest_release=release)
        return await self.queue.record(recording)

    async def read_feed(self, limit: int) -> object:
        """Read a page behind the last one; after a gap from the oldest event on."""
        wish = FeedWish(Entitlement(None), limit, lambda: False)
        try:
            page = self.under_test.feed(self.cursor, wish)
        except FeedGapError as error:
            self.cursor = error.oldest
            return "gap", error.oldest.removal
        self.cursor = page.next
        return page.events, page.more, page.next.sequence, page.next.removal

    async def state(self) -> object:
        """Return all that the queue shows of itself."""
        queue = self.queue
        rejected = [await queue.looks.rejected(seq) for seq in range(1, 4)]
        async with queue.survey() as survey:
            evidence = await survey.evidence()
        return (
            await self.under_test.rows(),
            dict(queue.holds),
            queue.newest_release,
            await queue.source_outages(),
            await queue.looks.waiting(NAMES),
            await queue.looks.bodies(range(1, 9), 10_000),
            await queue.looks.newest_decision(),
            await queue.looks.newest_retry_before(self.under_test.now),
            await queue.looks.clock_seen_at(),
            [each and (each.source, each.rejected_at, each.code, each.row) for each in rejected],
            evidence,
        )


async def compare(steps: list[tuple[Any, ...]]) -> None:
    with tempfile.TemporaryDirectory(prefix="relayd-conformance-") as folder:
        async with InSQLite.opened(Path(folder) / "queue.db") as in_sqlite:
            drivers = []
            for under_test in (in_sqlite, InMemory()):
                await declare(under_test)
                drivers.append(Driver(under_test))
            in_file, in_memory = drivers
            for step in (*BEGIN, *steps):
                assert await in_file.do(step) == await in_memory.do(step), step
                assert await in_file.state() == await in_memory.state(), step


@settings(max_examples=30, deadline=None)
@given(st.lists(STEPS, min_size=20, max_size=50))
def test_the_same_steps_get_the_same_answers(steps: list[tuple[Any, ...]]) -> None:
    trio.run(compare, steps)
