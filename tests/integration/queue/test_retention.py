"""Retention: what goes, what stays, and that nothing goes that is still promised."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
import structlog.testing
import trio
from events import make_event
from faults.producing import until
from queue_file import NOW, OK, URL, inside, opened, replay, rows_of

from relayd.config.sections import QueueConfig
from relayd.core.acceptance import Acceptance, NewEvent, RejectedRow
from relayd.core.delivery import decide
from relayd.core.event import Rejection, SpoolRow
from relayd.core.expiry import Steadiness
from relayd.database import Database
from relayd.queue import retention
from relayd.queue.retention import Pruning, horizon_at
from relayd.queue.sqlite import prune as pruning
from relayd.queue.sqlite.contents import read_contents
from relayd.queue.sqlite.prune import used_bytes
from relayd.queue.sqlite.queue import Queue
from relayd.queue.values import Cursor, Horizon, PruneStep, Recording, Want

DAY = 86_400.0


async def make(
    path: Path,
    queue: Queue,
    event_id: str,
    *,
    accepted: float,
    ended: float | None,
    to: tuple[str, ...] = ("books",),
) -> None:
    """Make an event that was accepted and delivered so many days ago."""
    await queue.accept([NewEvent(make_event(event_id), "socket", to)])
    if ended is not None:
        want = Want(to, 100, NOW, frozenset(), 0, backlog_first=False)
        for each in (await queue.claim(want)).deliveries:
            if each.event_id == event_id:
                moment = NOW - ended * DAY
                decided = decide(each, OK, (), started_at=moment, now=moment, jitter=0.0)
                await queue.record(Recording(decided, URL, None))
    await inside(
        queue,
        lambda db, *_: (
            db.execute(
                "UPDATE events SET accepted_at = ? WHERE id = ?", (NOW - accepted * DAY, event_id)
            ).rowcount
        ),
    )


async def prune(queue: Queue, path: Path, retention_days: float) -> int:
    """Do what one round of the task does; return how many events were touched."""
    horizon = horizon_at(NOW, retention_days * DAY)
    cursor: Cursor | None = Cursor()
    removed = 0
    async with queue.survey() as survey:
        while cursor is not None:
            step = await survey.prunable(horizon, cursor)
            cursor = step.cursor
            removed += await queue.prune(horizon, step.events)
    return removed


async def prunable(queue: Queue, horizon: Horizon) -> PruneStep:
    async with queue.survey() as survey:
        return await survey.prunable(horizon, Cursor())


def left(path: Path) -> list[str]:
    return [str(each) for (each,) in rows_of(path, "SELECT id FROM events ORDER BY seq")]


async def test_what_ended_before_the_retention_goes_whole(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await make(path, queue, "evt_old", accepted=50, ended=41)
        await make(path, queue, "evt_unwanted", accepted=41, ended=None, to=())
        await make(path, queue, "evt_ended_lately", accepted=50, ended=39)
        await make(path, queue, "evt_waiting", accepted=50, ended=None)
        await make(path, queue, "evt_new", accepted=39, ended=39)
        assert await prune(queue, path, 40) == 2
        assert left(path) == ["evt_ended_lately", "evt_waiting", "evt_new"]
        assert len(rows_of(path, "SELECT * FROM deliveries")) == 3
        assert len(rows_of(path, "SELECT * FROM attempts")) == 2
        assert await prune(queue, path, 40) == 0


async def test_an_event_of_which_one_delivery_waits_stays_whole(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await make(path, queue, "evt_1", accepted=50, ended=45, to=("books", "mail"))
        await inside(
            queue,
            lambda db, *_: (
                db.execute(
                    "UPDATE deliveries SET state = 'retrying', due_at = 1, ended_at = NULL WHERE seq = 2"
                ).rowcount
            ),
        )
        assert await prune(queue, path, 30) == 0
        assert len(rows_of(path, "SELECT * FROM attempts")) == 2


async def test_an_id_is_known_for_30_days_whatever_the_retention(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await make(path, queue, "evt_1", accepted=29, ended=28)
        await make(path, queue, "evt_2", accepted=31, ended=28)
        assert await prune(queue, path, 1) == 2
        assert rows_of(path, "SELECT id, body FROM events") == [("evt_1", None)]
        assert rows_of(path, "SELECT * FROM deliveries") == []
        assert rows_of(path, "SELECT * FROM attempts") == []
        again = [NewEvent(make_event("evt_1"), "socket", ("books",))]
        assert await queue.accept(again) == [Acceptance.DUPLICATE]
        other = make_event("evt_1", data={"object": {"id": "order_9"}})
        assert await queue.accept([NewEvent(other, "socket", ())]) == [Acceptance.CONFLICT]
        # It is not touched again and again.
        assert await prune(queue, path, 1) == 0


async def test_what_was_replayed_between_the_search_and_the_removal_stays(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await make(path, queue, "evt_1", accepted=50, ended=45)
        await make(path, queue, "evt_2", accepted=50, ended=45)
        await inside(
            queue,
            lambda db, *_: (
                db.execute("UPDATE deliveries SET state = 'exhausted' WHERE seq = 1").rowcount
            ),
        )
        horizon = horizon_at(NOW, 30 * DAY)
        step = await prunable(queue, horizon)
        assert step.events == (1, 2)
        assert (await replay(queue, 1)).count == 1
        assert await queue.prune(horizon, step.events) == 1
        assert left(path) == ["evt_1"]
        want = Want(("books",), 9, NOW, frozenset(), 0, backlog_first=False)
        [delivery] = (await queue.claim(want)).deliveries
        assert delivery.body == make_event("evt_1").body


async def test_a_long_replay_and_retention_side_by_side_lose_nothing(tmp_path: Path) -> None:
    """Each step of either is a transaction: what was replayed stays whole, what is gone is not replayed."""
    path, count = tmp_path / "queue.db", 60
    replayed: set[int] = set()
    async with opened(path) as queue:
        for number in range(count):
            await make(path, queue, f"evt_{number}", accepted=40, ended=35)
        seqs = [int(str(seq)) for (seq,) in rows_of(path, "SELECT seq FROM deliveries")]
        await inside(
            queue, lambda db, *_: db.execute("UPDATE deliveries SET state = 'cancelled'").rowcount
        )
        horizon = horizon_at(NOW, 30 * DAY)

        async def replay_all() -> None:
            for seq in reversed(seqs):
                if (await replay(queue, seq)).count:
                    replayed.add(seq)

        async def prune_all() -> None:
            events = [
                int(str(seq)) for (seq,) in rows_of(path, "SELECT seq FROM events ORDER BY seq")
            ]
            for seq in events:
                await queue.prune(horizon, (seq,))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(replay_all)
            nursery.start_soon(prune_all)
        assert 0 < len(replayed) < count, "both went on at once"
        left = rows_of(
            path,
            "SELECT d.seq FROM deliveries d JOIN events e ON e.seq = d.event_seq"
            " WHERE e.body IS NOT NULL AND d.state = 'pending'",
        )
        assert {int(str(seq)) for (seq,) in left} == replayed
        assert rows_of(path, "SELECT count(*) FROM events") == [(len(replayed),)]


async def test_it_goes_in_steps_and_passes_what_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "STEP_ROWS", 7)
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        news = [NewEvent(make_event(f"evt_{n}"), "socket", ("books", "mail")) for n in range(500)]
        await queue.accept(news)
        await inside(
            queue,
            lambda db, *_: [
                db.execute("UPDATE events SET accepted_at = ?", (NOW - 50 * DAY,)).rowcount,
                db.execute(
                    "UPDATE deliveries SET state = 'exhausted', due_at = NULL, ended_at = 1.0"
                    " WHERE event_seq % 10 <> 0"
                ).rowcount,
            ],
        )
        horizon = horizon_at(NOW, 30 * DAY)
        step = await prunable(queue, horizon)
        assert step.events == (1, 2)
        assert await prune(queue, path, 30) == 450
        assert len(left(path)) == 50
        assert rows_of(path, "SELECT count(*) FROM deliveries") == [(100,)]


async def test_large_bodies_go_a_few_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        data = {"object": {"text": "x" * 1_000_000}}
        for number in range(6):
            await queue.accept([NewEvent(make_event(f"evt_{number}", data=data), "socket", ())])
        step = await prunable(queue, horizon_at(NOW + DAY, 1.0))
        assert step.events == (1, 2, 3, 4)
        assert step.cursor is not None


async def test_the_task_takes_a_new_retention_at_once(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await make(path, queue, "evt_1", accepted=50, ended=45)
        task = Pruning(queue, QueueConfig(path, 60 * DAY), lambda: NOW)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task.run)
            await trio.sleep(0.1)
            assert left(path) == ["evt_1"]
            task.apply(QueueConfig(path, 40 * DAY))
            with trio.fail_after(10):
                while left(path):
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()


async def fill(queue: Queue, path: Path, count: int, *, ended: bool) -> None:
    """Make events of 100 KB, of which each was accepted a day after the one before."""
    data = {"object": {"text": "x" * 100_000}}
    first = len(left(path))
    for number in range(first, first + count):
        await queue.accept(
            [NewEvent(make_event(f"evt_{number}", data=data), "socket", ("books", "mail"))]
        )
    await inside(
        queue,
        lambda db, *_: [
            db.execute(
                "UPDATE events SET accepted_at = ? + seq * ? WHERE seq > ?",
                (NOW - 40 * DAY, DAY / 10, first),
            ).rowcount,
            *(
                db.execute(
                    "UPDATE deliveries SET state = 'delivered', due_at = NULL, ended_at = ?"
                    " WHERE event_seq > ?",
                    (NOW - DAY, first),
                ).rowcount
                for _ in range(ended)
            ),
        ],
    )


async def used(path: Path) -> int:
    async with Database.open(path) as reader:
        return await reader.run(used_bytes)


async def file_bytes(path: Path) -> int:
    """Return how large the file is with what its -wal holds.

    What was committed comes into the file itself at SQLite's next checkpoint, or one after it.
    """

    def size(db: sqlite3.Connection) -> int:
        [(pages,)] = db.execute("PRAGMA page_count")
        [(page_bytes,)] = db.execute("PRAGMA page_size")
        return int(pages * page_bytes)

    async with Database.open(path) as reader:
        return await reader.run(size)


async def test_above_its_size_the_oldest_that_ended_go(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pruning, "STEP_BYTES", 200_000)
    monkeypatch.setattr(retention, "SIZE_INTERVAL_S", 0.02)
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await fill(queue, path, 5, ended=False)
        await fill(queue, path, 30, ended=True)
        size = await used(path)
        assert size > 3_500_000
        task = Pruning(queue, QueueConfig(path, 100 * DAY, 2_000_000), lambda: NOW)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task.run)
            with trio.fail_after(20):
                while (size := await used(path)) > 2_000_000:
                    await trio.sleep(0.01)
            await trio.sleep(0.1)
            # No more than it must, the oldest first, and nothing that waits.
            assert await used(path) > 1_700_000
            names = left(path)
            assert names[:5] == [f"evt_{number}" for number in range(5)]
            gone = 35 - len(names)
            assert names[5:] == [f"evt_{number}" for number in range(5 + gone, 35)]
            assert not task.too_large
            # The room is used again: the file does not grow.
            size = await file_bytes(path)
            await fill(queue, path, 5, ended=True)
            assert await file_bytes(path) <= size + 100_000
            nursery.cancel_scope.cancel()


@pytest.mark.parametrize("days", [20, 40])
async def test_what_goes_gives_its_room_back(tmp_path: Path, days: int) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        data = {"object": {"text": "x" * 600}}
        news = [
            NewEvent(make_event(f"evt_{number:032}", data=data), "socket", ("books",))
            for number in range(5_000)
        ]
        empty = await used(path)
        await queue.accept(news)
        full = await used(path)
        await inside(
            queue,
            lambda db, *_: [
                db.execute("UPDATE events SET accepted_at = ?", (NOW - days * DAY,)).rowcount,
                db.execute(
                    "UPDATE deliveries SET state = 'exhausted', due_at = NULL, ended_at = 1.0"
                ).rowcount,
            ],
        )
        assert await prune(queue, path, 1) == 5_000
        # Of the younger ones the ids stay, in two indexes.
        assert (await used(path) - empty) / (full - empty) < (0.4 if days < 30 else 0.02)


async def test_a_queue_that_stays_too_large_is_told_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retention, "SIZE_INTERVAL_S", 0.02)
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await fill(queue, path, 5, ended=False)
        config = QueueConfig(path, 100 * DAY, 300_000)
        task = Pruning(queue, config, lambda: NOW)
        with structlog.testing.capture_logs() as logs:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(task.run)
                await until(lambda: task.too_large)
                await trio.sleep(0.2)
                [line] = logs
                assert (line["event"], line["max_bytes"]) == ("queue_too_large", 300_000)
                assert line["bytes"] == await used(path)
                assert len(left(path)) == 5
                # It goes on where more may go: here, since the limit is higher.
                task.apply(QueueConfig(path, 100 * DAY, 3_000_000))
                await until(lambda: not task.too_large)
                assert [each["event"] for each in logs] == [
                    "queue_too_large",
                    "queue_size_recovered",
                ]
                nursery.cancel_scope.cancel()


async def test_the_size_takes_bodies_and_leaves_ids_and_what_ended_just_now(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await make(path, queue, "evt_old", accepted=31, ended=1)
        await make(path, queue, "evt_1", accepted=5, ended=4)
        await make(path, queue, "evt_now", accepted=2, ended=retention.SETTLED_S / DAY / 2)
        task = Pruning(queue, QueueConfig(path, 30 * DAY, 1), lambda: NOW)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task.run)
            with trio.fail_after(20):
                while not task.too_large:
                    await trio.sleep(0.01)
            nursery.cancel_scope.cancel()
        rows = rows_of(path, "SELECT id, body IS NULL FROM events ORDER BY seq")
        assert rows == [("evt_1", 1), ("evt_now", 0)]
        assert len(rows_of(path, "SELECT * FROM attempts")) == 1


async def test_the_search_reads_no_whole_table(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path):
        pass
    values = {"ended": 1, "known": 1, "accepted_at": 0, "type": "", "seq": 0, "seqs": "[1]"}
    with closing(sqlite3.connect(path)) as db:
        for statement in (
            *(pruning._CANDIDATES, pruning._STILL, *pruning._REMOVALS),
            *(pruning._REST, pruning._REMOVE_REST),
        ):
            plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            scans = {line for line in plan if line.startswith("SCAN") and "json" not in line}
            assert scans <= {"SCAN queue"}, "that has one row"


def rejected_row(seq: int, size: int = 10) -> RejectedRow:
    row = SpoolRow(seq, b"evt_bad", b"Order", b"x" * size, None, None, None)
    return RejectedRow("spool market", row, Rejection("invalid_type", "the type is 'Order'"))


async def test_rejected_input_goes_after_the_retention(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await queue.reject([rejected_row(seq) for seq in range(5)])
        await inside(
            queue,
            lambda db, *_: (
                (
                    db.execute(
                        "UPDATE rejected SET rejected_at = ? WHERE seq < 4", (NOW - 31 * DAY,)
                    )
                ).rowcount
            ),
        )
        task = Pruning(queue, QueueConfig(path, 30 * DAY), lambda: NOW)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(task.run)
            await until(lambda: len(rows_of(path, "SELECT seq FROM rejected")) == 2)
            nursery.cancel_scope.cancel()


async def test_rejected_input_goes_before_any_event_when_the_queue_is_too_large(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        for number in range(20):
            await make(path, queue, f"evt_{number}", accepted=3, ended=2)
        for start in range(0, 60, 10):
            await queue.reject([rejected_row(seq, 1_000_000) for seq in range(start, start + 10)])
        task = Pruning(queue, QueueConfig(path, 30 * DAY, 20_000_000), lambda: NOW)
        with structlog.testing.capture_logs() as logs:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(task.run)
                await until(lambda: any(each["event"] == "rejected_removed" for each in logs))
                nursery.cancel_scope.cancel()
        assert len(left(path)) == 20, "the history stays"
        kept = [seq for (seq,) in rows_of(path, "SELECT seq FROM rejected ORDER BY seq")]
        assert 10 <= len(kept) < 20, "no more than had to go"
        assert kept[-1] == 60, "the newest stay"
        async with Database.open(path) as reader:
            assert await reader.run(used_bytes) <= 20_000_000
            filled_by = await reader.run(read_contents)
        assert filled_by.rejected == pytest.approx(len(kept) * 1_000_000, rel=0.05)
        assert filled_by.free > 30_000_000
        assert not task.too_large


async def test_a_clock_that_is_ahead_expires_nothing_and_forgets_no_id(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    clock, steady = NOW, Steadiness(0.0, stepped=False)
    async with opened(path) as queue:
        await make(path, queue, "evt_1", accepted=3, ended=2)
        await make(path, queue, "evt_2", accepted=1, ended=None, to=())
        await queue.reject([rejected_row(1)])
        task = Pruning(queue, QueueConfig(path, 30 * DAY, 10_000), lambda: clock, lambda: steady)

        async def one_pass() -> None:
            async with queue.survey() as survey:
                await task._by_age(survey)

        await one_pass()
        assert len(left(path)) == 2
        for ahead in (31 * DAY, 400 * DAY):
            clock = NOW + ahead
            with structlog.testing.capture_logs() as logs:
                await one_pass()
            assert [line["event"] for line in logs] == [["retention_paused"], []][ahead > 31 * DAY]
            assert len(left(path)) == 2
            assert len(rows_of(path, "SELECT * FROM deliveries")) == 1
            assert len(rows_of(path, "SELECT * FROM rejected")) == 1
        again = [NewEvent(make_event("evt_1"), "socket", ("books",))]
        assert await queue.accept(again) == [Acceptance.DUPLICATE]
        # Size makes the body go, as it does at any time, but not the id.
        async with queue.survey() as survey:
            task._cursor = Cursor()
            await task._by_size(survey)
        assert await queue.accept(again) == [Acceptance.DUPLICATE]
        # The clock is right again, and everything expires when it is time.
        clock, steady = NOW + 26.9 * DAY, Steadiness(3_600.0, stepped=True)
        for _ in range(40):
            await one_pass()
        assert left(path) == ["evt_1", "evt_2"], "ids are known for 30 days"
        clock = NOW + 27.5 * DAY
        for _ in range(3):
            await one_pass()
        assert left(path) == ["evt_2"]
