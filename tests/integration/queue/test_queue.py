"""The queue on real files: what is durable, what is due, and what a crash leaves."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import replace
from pathlib import Path

import pytest
import structlog.testing
import trio
from events import make_event
from queue_file import inside

from relayd.core.acceptance import Acceptance, NewEvent, RejectedRow
from relayd.core.delivery import Delivery, State, decide
from relayd.core.endpoint import Health
from relayd.core.event import Event, EventDefaults, Rejection, SpoolRow
from relayd.core.event_input import event_from_line
from relayd.core.hold import Hold
from relayd.core.outcome import Failure, Outcome
from relayd.core.release import Extra
from relayd.database import sqlite_loop
from relayd.queue.interface import QueueBroken
from relayd.queue.sqlite.claim import _DUE, _NEXT_DUE, _RELEASED
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.queue import Queue
from relayd.queue.sqlite.schema import SchemaMismatchError
from relayd.queue.sqlite.tables import VERSION
from relayd.queue.values import Claim, Declared, Recording, Want

URL = "https://app.example/hook"
NOW = 1_700_000_000.0
OK = Outcome(0.1, status=200)
REFUSED = Rejection("invalid_id", "no")
FAILED = Outcome(0.1, status=500, failure=Failure.STATUS, detail="answered 500")


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def opened(path: Path, clock: Clock | None = None) -> AsyncIterator[Queue]:
    async with sqlite_loop(), open_queue(path, clock or Clock()) as queue:
        await queue.declare([Declared("books", URL, True), Declared("mail", URL, True)])
        yield queue


def want(*names: str, count: int = 10, now: float = NOW, **others: object) -> Want:
    values: dict[str, object] = {
        "busy": frozenset(),
        "recovery": 0,
        "backlog_first": False,
        **others,
    }
    return Want(subscriptions=names or ("books",), count=count, now=now, **values)  # type: ignore[arg-type]  # values fit by name


async def accept(queue: Queue, event_id: str, *names: str) -> Acceptance:
    [result] = await queue.accept([NewEvent(make_event(event_id), "socket", names or ("books",))])
    return result


async def record(
    queue: Queue, delivery: Delivery, outcome: Outcome, *, now: float = NOW, wait_s: float = 100.0
) -> None:
    decided = decide(delivery, outcome, (wait_s, wait_s), started_at=now, now=now, jitter=0.0)
    await queue.record(Recording(decided, URL, None, newest_release=queue.newest_release))


def ids(claim: Claim) -> list[str]:
    return [delivery.event_id for delivery in claim.deliveries]


async def test_an_accepted_event_is_due_at_once_with_the_bytes_that_came(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        event = make_event("evt_1")
        assert await queue.accept([NewEvent(event, "socket", ("books", "mail"))]) == [
            Acceptance.ACCEPTED
        ]
        claim = await queue.claim(want("books", "mail"))
        assert [each.subscription for each in claim.deliveries] == ["books", "mail"]
        delivery = claim.deliveries[0]
        assert delivery.body == event.body
        assert (delivery.state, delivery.attempts, delivery.step) == (State.PENDING, 0, 0)
        assert delivery.id == f"dlv_{queue.tag}_1"
        assert claim.next_due == {}


async def test_what_is_accepted_survives_the_process(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        tag = queue.tag
    async with opened(path) as queue:
        assert queue.tag == tag
        claim = await queue.claim(want())
        assert ids(claim) == ["evt_1"]
        # Numbers go on, so no delivery's id is given twice.
        await accept(queue, "evt_2")
        assert [each.seq for each in (await queue.claim(want())).deliveries] == [1, 2]


async def test_an_id_is_accepted_once_and_other_content_is_a_conflict(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        same, other = make_event("evt_1"), make_event("evt_1", data={"object": {"id": "order_9"}})
        news = [NewEvent(event, "socket", ("books",)) for event in (same, same, other)]
        assert await queue.accept(news) == [
            Acceptance.ACCEPTED,
            Acceptance.DUPLICATE,
            Acceptance.CONFLICT,
        ]
        assert await queue.accept(news[1:]) == [Acceptance.DUPLICATE, Acceptance.CONFLICT]
        assert len((await queue.claim(want())).deliveries) == 1


async def test_an_event_that_nobody_wants_is_kept(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        assert await queue.accept([NewEvent(make_event("evt_1"), "socket", ())]) == [
            Acceptance.ACCEPTED
        ]
        assert await queue.accept([NewEvent(make_event("evt_1"), "socket", ())]) == [
            Acceptance.DUPLICATE
        ]


async def test_a_failed_delivery_is_due_again_when_its_wait_is_over(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        await accept(queue, "evt_1")
        [delivery] = (await queue.claim(want())).deliveries
        await record(queue, delivery, FAILED)
        waiting = await queue.claim(want(now=NOW + 99))
        assert waiting.deliveries == ()
        assert waiting.next_due == {"books": NOW + 100}
        [again] = (await queue.claim(want(now=NOW + 100))).deliveries
        assert (again.seq, again.state, again.attempts, again.step) == (1, State.RETRYING, 1, 1)
        assert again.body == delivery.body


async def test_an_ended_delivery_is_never_due_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        await accept(queue, "evt_1")
        [delivery] = (await queue.claim(want())).deliveries
        await record(queue, delivery, OK)
        claim = await queue.claim(want(now=NOW + 10**9))
        assert claim == Claim((), {}, claim.backlog_first)
        # What ended while an attempt was under way stays ended, and the attempt is kept.
        await record(queue, replace(delivery, attempts=1), FAILED)
        assert (await queue.claim(want(now=NOW + 10**9))).deliveries == ()


async def test_what_is_in_flight_is_not_claimed_again(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        for number in range(5):
            await accept(queue, f"evt_{number}")
        claim = await queue.claim(want(count=2, busy=frozenset({1, 2})))
        assert ids(claim) == ["evt_2", "evt_3"]
        assert claim.next_due == {"books": NOW}  # more is due than was wanted
        rest = await queue.claim(want(count=9, busy=frozenset({1, 2, 3, 4})))
        assert ids(rest) == ["evt_4"]


async def test_fresh_ones_and_the_backlog_are_claimed_in_turn(tmp_path: Path) -> None:
    clock = Clock()
    async with opened(tmp_path / "queue.db", clock) as queue:
        for number in range(4):
            await accept(queue, f"evt_old_{number}")
        clock.now = NOW + 3600
        for number in range(4):
            await accept(queue, f"evt_new_{number}")
        claim = await queue.claim(want(count=4, now=clock.now))
        assert ids(claim) == ["evt_new_0", "evt_old_0", "evt_new_1", "evt_old_1"]


async def test_a_clock_that_was_set_back_delays_nothing_fresh(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        await accept(queue, "evt_1")
        assert ids(await queue.claim(want(now=NOW - 3600))) == ["evt_1"]


async def test_released_retries_are_due_whatever_their_time(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        for number in range(3):
            await accept(queue, f"evt_{number}")
        deliveries = (await queue.claim(want())).deliveries
        for delivery in deliveries[:2]:
            await record(queue, delivery, FAILED, now=NOW)
        recovery = queue.next_release()
        await record(queue, deliveries[2], FAILED, now=NOW + 20)
        claim = await queue.claim(want(now=NOW + 30, recovery=recovery))
        assert ids(claim) == ["evt_0", "evt_1"]
        assert {each.extra for each in claim.deliveries} == {Extra.RECOVERY}
        busy = frozenset(each.seq for each in claim.deliveries)
        rest = await queue.claim(want(now=NOW + 101, recovery=recovery, busy=busy))
        assert rest.deliveries == ()
        assert rest.next_due == {"books": NOW + 120}


async def test_a_released_attempt_that_fails_leaves_the_schedule_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_0")
        [delivery] = (await queue.claim(want())).deliveries
        await record(queue, delivery, FAILED)
        first, second = queue.next_release(), queue.next_release()
        [delivery] = (await queue.claim(want(now=NOW + 10, recovery=first))).deliveries
        await record(queue, delivery, FAILED, now=NOW + 10)
        # Once for each step, however often it recovers; the operator's come each time.
        for recovery in (first, second):
            claim = await queue.claim(want(now=NOW + 11, recovery=recovery))
            assert claim.deliveries == ()
            assert claim.next_due == {"books": NOW + 100}
        for now in (NOW + 20, NOW + 30):
            assert await queue.release("books") == 1
            [delivery] = (await queue.claim(want(now=now, recovery=second))).deliveries
            assert (delivery.extra, delivery.step) == (Extra.OPERATOR, 1)
            await record(queue, delivery, FAILED, now=now)
            assert (await queue.claim(want(now=now, recovery=second))).deliveries == ()
        [delivery] = (await queue.claim(want(now=NOW + 100))).deliveries
        assert (delivery.attempts, delivery.step, delivery.extra) == (4, 1, None)
        await record(queue, delivery, FAILED, now=NOW + 100)
        # In the next step a recovery counts again.
        third = queue.next_release()
        [delivery] = (await queue.claim(want(now=NOW + 110, recovery=third))).deliveries
        assert (delivery.step, delivery.extra) == (2, Extra.RECOVERY)
        await record(queue, delivery, OK, now=NOW + 110)
    with closing(sqlite3.connect(path)) as db:
        extras = [extra for (extra,) in db.execute("SELECT extra FROM attempts ORDER BY number")]
    assert extras == [None, "recovery", "operator", "operator", None, "recovery"]


async def test_releases_are_known_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_0")
        [delivery] = (await queue.claim(want())).deliveries
        lost = [queue.next_release() for _ in range(5)][-1]
        await record(queue, delivery, FAILED)
    async with opened(path) as queue:
        # The retry failed after a release that was never written: the next one is a later one.
        assert queue.next_release() > lost
        assert (await queue.claim(want())).deliveries == ()
        assert await queue.release("books") == 1
    async with opened(path) as queue:
        assert len((await queue.claim(want())).deliveries) == 1


async def test_an_attempt_that_begins_while_a_release_is_written_is_made_before_it(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        await accept(queue, "evt_0")
        [delivery] = (await queue.claim(want())).deliveries
        before = queue.newest_release
        async with trio.open_nursery() as nursery:
            nursery.start_soon(queue.release, "books")
            await trio.testing.wait_all_tasks_blocked()
            # Nor does the number of a recovery meanwhile hide the one that is written.
            assert queue.next_release() == before + 2
            assert queue.newest_release == before
        assert queue.newest_release == before + 2
        decided = decide(delivery, FAILED, (100.0,), started_at=NOW, now=NOW, jitter=0.0)
        await queue.record(Recording(decided, URL, None, newest_release=before))
        [delivery] = (await queue.claim(want())).deliveries
        assert delivery.extra is Extra.OPERATOR


async def test_what_the_configuration_changed_is_released(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        await accept(queue, "evt_0")
        [delivery] = (await queue.claim(want())).deliveries
        await record(queue, delivery, FAILED)
        assert await queue.declare([Declared("books", URL, True)]) == {}
        assert (await queue.claim(want())).deliveries == ()
        for declared in (
            Declared("books", URL, True, made_with=b"another secret"),
            Declared("books", "https://other.example/", True),
        ):
            assert await queue.declare([declared]) == {"books": 1}
            [delivery] = (await queue.claim(want())).deliveries
            assert delivery.extra is Extra.OPERATOR
            await record(queue, delivery, FAILED)
            assert (await queue.claim(want())).deliveries == ()


async def test_many_wants_are_answered_each_with_its_own(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        await accept(queue, "evt_1", "books")
        await accept(queue, "evt_2", "mail")
        claims: dict[str, Claim] = {}

        async def ask(name: str) -> None:
            claims[name] = await queue.claim(want(name, count=1))

        async with trio.open_nursery() as nursery:
            for name in ("books", "mail"):
                nursery.start_soon(ask, name)
        assert ids(claims["books"]) == ["evt_1"]
        assert ids(claims["mail"]) == ["evt_2"]


async def test_one_want_for_many_subscriptions_says_of_each_when_to_ask_again(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        for number in range(3):
            await accept(queue, f"evt_{number}", "books", "mail")
        [first, *_] = (await queue.claim(want("mail", count=1))).deliveries
        await record(queue, first, FAILED)
        claim = await queue.claim(want("books", "mail", count=3))
        assert [each.subscription for each in claim.deliveries] == ["books", "books", "mail"]
        assert claim.next_due == {"books": NOW, "mail": NOW}
        busy = frozenset(each.seq for each in claim.deliveries)
        rest = await queue.claim(want("books", "mail", count=9, busy=busy))
        assert len(rest.deliveries) == 2
        assert rest.next_due == {"mail": NOW + 100}


async def test_one_rejected_row_makes_one_event_however_often_it_is_resubmitted(
    tmp_path: Path,
) -> None:
    row = SpoolRow(1, b"no id!", b"order.created", b"{}", None, None, None)
    async with opened(tmp_path / "queue.db") as queue:
        await queue.reject([RejectedRow("spool market", row, REFUSED)])
        results: list[Acceptance | None] = []

        async def resubmit(event_id: str) -> None:
            new = NewEvent(make_event(event_id), "spool market", ("books",))
            results.append(await queue.resubmit(new, 1))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(resubmit, "evt_1")
            nursery.start_soon(resubmit, "evt_2")
        assert sorted(results, key=str) == [None, Acceptance.ACCEPTED]
        assert len(ids(await queue.claim(want()))) == 1
        # It may still be in its spool, and is read again: it does not come back to the list.
        again = RejectedRow("spool market", row, REFUSED)
        assert (await queue.reject([again])).new == []
        assert await queue.resubmit(NewEvent(make_event("evt_9"), "spool market", ()), 2) is None
        # What is refused stays on the list.
        await accept(queue, "evt_3")
        await queue.reject([RejectedRow("spool market", replace(row, seq=2), REFUSED)])
        other = NewEvent(make_event("evt_3", data={"object": {"id": "other"}}), "spool market", ())
        assert await queue.resubmit(other, 2) is Acceptance.CONFLICT
        assert await queue.resubmit(NewEvent(make_event("evt_4"), "spool market", ()), 2) is (
            Acceptance.ACCEPTED
        )


async def test_a_quarantined_delivery_is_reported_once(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        declared = [Declared("books", URL, True), Declared("mail", URL, True)]
        await queue.declare(declared, frozenset({"relayd.delivery.exhausted"}))
        await accept(queue, "evt_1")
        await accept(queue, "evt_2")
        await inside(
            queue,
            lambda db, *_: db.execute(
                "UPDATE events SET type = 'relayd.endpoint.failing' WHERE id = 'evt_2'"
            ),
        )
        first, own = (await queue.claim(want())).deliveries
        for _ in range(2):
            await queue.quarantine(first.seq, "relayd itself failed")
            await queue.quarantine(own.seq, "an event of relayd's own makes none")
        with trio.fail_after(5):
            [row] = await queue.outbox()
        assert row.event.type == "relayd.delivery.exhausted"
        assert row.event.data == {
            "object": {
                "subscription": "books",
                "event_type": "order.created",
                "attempts": 1,
                "reason": "relayd itself failed",
                "count": 1,
                "since": int(NOW),
                "ids": [first.id],
                "next": "report it, with what relayd's log says of it; then `relayd replay books`",
            }
        }


async def test_a_delivery_is_quarantined_with_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        [delivery] = (await queue.claim(want())).deliveries
        assert await queue.quarantine(delivery.seq, "relayd itself failed")
        assert (await queue.claim(want())).deliveries == ()
        assert not await queue.quarantine(delivery.seq, "again")  # it has ended: nothing changes
    with sqlite3.connect(path) as db:
        assert db.execute("SELECT * FROM outbox").fetchall() == [], "nobody wants it"
        assert db.execute(
            "SELECT state, attempts, due_at, ended_at FROM deliveries"
        ).fetchall() == [("exhausted", 1, None, NOW)]
        assert db.execute("SELECT number, failure, detail FROM attempts").fetchall() == [
            (1, "defect", "relayd itself failed")
        ]
    db.close()


async def test_holds_follow_the_configuration_and_the_receivers_410(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        [delivery] = (await queue.claim(want())).deliveries
        await record(queue, delivery, Outcome(0.1, status=410, failure=Failure.STATUS))
        assert queue.holds == {"books": Hold.GONE, "mail": None}
        moved = Declared("books", "https://other.example/", True)
        for declared, hold in (
            (Declared("books", URL, True), Hold.GONE),
            (Declared("books", URL, False), Hold.INACTIVE),
            (Declared("books", URL, True), Hold.GONE),
            (moved, None),
        ):
            await queue.declare([declared])
            assert queue.holds == {"books": hold, "mail": Hold.REMOVED}
        [again] = (await queue.claim(want())).deliveries
        assert (again.attempts, again.step) == (1, 0)


async def test_an_endpoints_health_is_remembered(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    health = Health(
        failures=4,
        recent=(0, 0, int(NOW)),
        failed_since=NOW,
        failing_since=NOW - 1,
        reported=True,
        succeeded_at=NOW - 2,
        last_failure="answered 500",
        release=3,
        released_at=NOW - 3,
        held_until=NOW + 60,
        throttled=2,
        ramp=1,
    )
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        [delivery] = (await queue.claim(want())).deliveries
        decided = decide(delivery, FAILED, (1.0,), started_at=NOW, now=NOW, jitter=0.0)
        await queue.record(Recording(decided, URL, lambda: health))
    async with opened(path) as queue:
        assert await queue.health() == {URL: health}


async def test_an_acknowledgement_that_was_cancelled_leaves_the_queue_usable(
    tmp_path: Path,
) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        for number in range(20):
            with trio.move_on_after(0):
                await accept(queue, f"evt_{number}")
        assert await accept(queue, "evt_after") is Acceptance.ACCEPTED


async def test_it_is_readable_for_its_owner_alone(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        await accept(queue, "evt_1")
        modes = {each.name: each.stat().st_mode & 0o777 for each in tmp_path.iterdir()}
        names = ("queue.db", "queue.db-wal", "queue.db-shm", "queue.db.reserve")
        assert modes == dict.fromkeys(names, 0o600)


async def test_a_queue_of_a_newer_relayd_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path):
        pass
    db = sqlite3.connect(path)
    db.execute(f"PRAGMA user_version = {VERSION + 1}")
    db.close()
    before = path.read_bytes()
    with pytest.raises(BaseException) as raised:
        async with opened(path):
            pass
    assert _cause(raised.value, SchemaMismatchError)
    assert path.read_bytes() == before


async def test_another_programs_database_is_refused_and_left_as_it_is(tmp_path: Path) -> None:
    path = tmp_path / "market.db"
    db = sqlite3.connect(path)
    db.execute("CREATE TABLE orders (id TEXT)")
    db.close()
    before = path.read_bytes()
    with pytest.raises(BaseException) as raised:
        async with opened(path):
            pass
    assert _cause(raised.value, SchemaMismatchError)
    assert path.read_bytes() == before


def _cause(error: BaseException, kind: type[BaseException]) -> bool:
    if isinstance(error, BaseExceptionGroup):
        return any(_cause(each, kind) for each in error.exceptions)
    return isinstance(error, kind)


async def test_claims_look_only_at_what_waits(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path):
        pass
    db = sqlite3.connect(path)
    arguments = {
        "subscription_id": 1,
        "now": 0,
        "recovery": 0,
        "operator": 0,
        "fresh_for": 60,
        "n": 1,
    }
    for statement in (_DUE, _RELEASED, _NEXT_DUE):
        plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", arguments)]
        # A part of the union scans what its own seek found.
        assert not [line for line in plan if "SCAN" in line and "(subquery" not in line], plan
        index = "deliveries_releasable" if statement is _RELEASED else "deliveries_waiting"
        assert any(index in line for line in plan)
        # Each part is one seek past what is behind others, however many those are.
        seeks = [line for line in plan if line.startswith("SEARCH")]
        assert seeks
        assert all("state=? AND behind=? AND" in line for line in seeks), seeks
        if statement is not _RELEASED:
            assert all("COVERING INDEX deliveries_waiting" in line for line in seeks), seeks
        assert not [line for line in plan if "TEMP B-TREE" in line], plan
    db.close()


@pytest.mark.parametrize("restored", ["", "-wal", "-shm"])
async def test_a_queue_that_others_may_read_is_made_private(tmp_path: Path, restored: str) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await queue.accept([NewEvent(make_event("evt_1"), "socket", ())])
        copies = {side: Path(f"{path}{side}").read_bytes() for side in ("", "-wal", "-shm")}
    for side, content in copies.items():
        copy = tmp_path / f"copy.db{side}"
        copy.write_bytes(content)
        copy.chmod(0o644 if side == restored else 0o600)
    with structlog.testing.capture_logs() as logs:
        async with opened(tmp_path / "copy.db"):
            modes = [(tmp_path / f"copy.db{side}").stat().st_mode & 0o777 for side in copies]
    assert modes == [0o600] * 3
    assert [line["event"] for line in logs] == ["queue_permissions_fixed"]


async def test_ids_are_unique_within_a_market(tmp_path: Path) -> None:
    def event(market: str, text: str = "x") -> NewEvent:
        line = f'{{"id":"evt_1","type":"order.created","data":{{"t":"{text}"}}}}'.encode()
        read = event_from_line(line, EventDefaults(market, "1"), new_id="x", now=1)
        assert isinstance(read, Event)
        return NewEvent(read, f"spool {market}", ("books",))

    async with opened(tmp_path / "queue.db") as queue:
        # In one transaction, and in several.
        news = [event("a"), event("b"), event("a"), event("b", "y"), event("é")]
        assert await queue.accept(news) == [
            Acceptance.ACCEPTED,
            Acceptance.ACCEPTED,
            Acceptance.DUPLICATE,
            Acceptance.CONFLICT,
            Acceptance.ACCEPTED,
        ]
        assert await queue.accept([event("b")]) == [Acceptance.DUPLICATE]
        assert await queue.accept([event("a", "y")]) == [Acceptance.CONFLICT]
        assert await queue.accept([event("c")]) == [Acceptance.ACCEPTED]
        claim = await queue.claim(Want(("books",), 100, 1e12, frozenset(), 0, backlog_first=False))
        assert len(claim.deliveries) == 4


async def test_a_row_is_known_whatever_market_its_spool_has_now(tmp_path: Path) -> None:
    def row(
        market: str,
        *,
        source: str = "spool a",
        created: int = 1,
        text: str = "x",
        bound: bool = True,
    ) -> NewEvent:
        line = (
            f'{{"id":"evt_1","type":"order.created","created":{created},"data":{{"t":"{text}"}}}}'
        )
        read = event_from_line(line.encode(), EventDefaults(market, "1"), new_id="x", now=1)
        assert isinstance(read, Event)
        return NewEvent(read, source, (), market_bound=bound)

    async with opened(tmp_path / "queue.db") as queue:
        # In one transaction, where a reload came while that waited, and in several.
        assert await queue.accept([row("a"), row("b")]) == [
            Acceptance.ACCEPTED,
            Acceptance.DUPLICATE,
        ]
        assert await queue.accept([row("b"), row("b")]) == [Acceptance.DUPLICATE] * 2
        # Another row, source or content, and what a spool with `markets:` brings, is another event.
        assert await queue.accept([row("b", created=2)]) == [Acceptance.ACCEPTED]
        assert await queue.accept([row("c", source="spool b")]) == [Acceptance.ACCEPTED]
        assert await queue.accept([row("d", text="y")]) == [Acceptance.ACCEPTED]
        assert await queue.accept([row("e", bound=False)]) == [Acceptance.ACCEPTED]


async def test_a_queue_that_cannot_be_made_private_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "queue.db"
    path.touch(0o644)
    path.chmod(0o644)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "chmod", refuse)
    with pytest.raises((QueueBroken, BaseExceptionGroup)) as raised:
        async with opened(path):
            pass
    assert "chown it to relayd's user" in repr(raised.getrepr())
    assert path.stat().st_size == 0
