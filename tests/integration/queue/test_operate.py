"""What the operator does to the queue, on real files: what changes, and what stays."""

import sqlite3
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from queue_file import (
    FAILED,
    NOW,
    OK,
    URL,
    accept,
    cancel,
    claimed,
    inside,
    opened,
    record,
    replay,
    rows_of,
    seen,
    states,
)

from relayd.core.acceptance import RejectedRow
from relayd.core.delivery import State, decide
from relayd.core.event import Rejection, SpoolRow
from relayd.core.hold import Hold
from relayd.core.outcome import Failure, Outcome
from relayd.core.release import Extra
from relayd.queue.sqlite import operate, subscriptions
from relayd.queue.sqlite.numbers import Numbers
from relayd.queue.sqlite.queue import Queue
from relayd.queue.sqlite.record import record as record_all
from relayd.queue.sqlite.rejected import drop_rejected, list_rejected, read_rejected
from relayd.queue.values import Changed, Horizon, Recording, Want


async def test_a_replay_has_the_whole_schedule_and_its_attempts_go_on_counting(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        for _ in range(2):
            [delivery] = await claimed(queue, now=NOW + 200)
            await record(queue, delivery, FAILED)
        assert states(path) == {1: ("exhausted", 2, 1)}
        assert await replay(queue, 1) == Changed(1, frozenset({"books"}))
        [delivery] = await claimed(queue)
        assert (delivery.state, delivery.attempts, delivery.step) == (State.PENDING, 2, 0)
        await record(queue, delivery, FAILED)
        assert states(path) == {1: ("retrying", 3, 1)}
        # Replaying it again changes nothing: it waits.
        assert await replay(queue, 1) == Changed(0, frozenset())
    numbers = rows_of(path, "SELECT number FROM attempts ORDER BY number")
    assert numbers == [(1,), (2,), (3,)]


async def test_only_what_may_be_replayed_or_cancelled_is(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2", "evt_3", "evt_4")
        one, two, _, four = await claimed(queue)
        await record(queue, one, OK)
        await record(queue, two, FAILED)
        await record(queue, four, FAILED, schedule=())
        assert (await cancel(queue, 1, 2, 3, 4, 99)).count == 2
        assert {seq: state for seq, (state, *_) in states(path).items()} == {
            1: "delivered",
            2: "cancelled",
            3: "cancelled",
            4: "exhausted",
        }
        assert (await replay(queue, 1, 2, 3, 4, 99)).count == 3
        assert states(path)[1] == ("delivered", 1, 0)
        assert sorted(each.seq for each in await claimed(queue)) == [2, 3, 4]


async def test_what_is_replayed_takes_turns_with_what_is_fresh(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        await accept(queue, *(f"evt_{number}" for number in range(50)))
        await cancel(queue, *range(1, 51))
        await replay(queue, *range(1, 51))
        await accept(queue, "evt_fresh")
        want = Want(("books",), 2, NOW, frozenset(), 0, backlog_first=True)
        claim = await queue.claim(want)
        assert [each.event_id for each in claim.deliveries] == ["evt_0", "evt_fresh"]


@pytest.mark.parametrize(
    ("outcome", "state"), [(OK, "delivered"), (FAILED, "cancelled")], ids=["succeeds", "fails"]
)
async def test_cancelled_while_its_attempt_is_under_way(
    tmp_path: Path, outcome: Outcome, state: str
) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        [delivery] = await claimed(queue)
        await cancel(queue, 1)
        as_decided = await record(queue, delivery, outcome)
        assert as_decided is outcome.succeeded
        assert states(path) == {1: (state, 1, 0)}
        assert rows_of(path, "SELECT number FROM attempts") == [(1,)]
        # A replay makes the next attempt: it must have a number of its own.
        if state == "cancelled":
            await replay(queue, 1)
            [again] = await claimed(queue)
            assert again.attempts == 1
            assert await record(queue, again, OK)
            assert states(path) == {1: ("delivered", 2, 0)}


@pytest.mark.parametrize(
    ("outcome", "state", "step"),
    [(OK, "delivered", 2), (FAILED, "pending", 0)],
    ids=["succeeds", "fails"],
)
async def test_cancelled_and_replayed_while_its_last_attempt_is_under_way(
    tmp_path: Path, outcome: Outcome, state: str, step: int
) -> None:
    path = tmp_path / "queue.db"
    schedule = (1.0, 1.0)
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        for _ in range(2):
            [delivery] = await claimed(queue, now=NOW + 10)
            await record(queue, delivery, FAILED, schedule)
        [delivery] = await claimed(queue, now=NOW + 10)
        await cancel(queue, 1)
        await replay(queue, 1)
        as_decided = await record(queue, delivery, outcome, schedule)
        # A failure of the attempt from before does not exhaust what was replayed since.
        assert as_decided is outcome.succeeded
        assert states(path) == {1: (state, 3, step)}


async def test_cancelled_and_replayed_while_its_first_attempt_is_under_way(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        [delivery] = await claimed(queue)
        await cancel(queue, 1)
        await replay(queue, 1)
        # It is pending at step 0 again, and has all of its schedule: here not a single retry.
        assert await record(queue, delivery, FAILED, ()) is False
        assert states(path) == {1: ("pending", 1, 0)}
        [again] = await claimed(queue)
        assert await record(queue, again, FAILED, ()) is True
        assert states(path) == {1: ("exhausted", 2, 0)}


async def test_a_batch_says_of_each_whether_it_stands_as_decided(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2", "evt_3")
        deliveries = await claimed(queue)
        await cancel(queue, 2)
        recordings = [
            Recording(decide(each, FAILED, (9.0,), started_at=NOW, now=NOW, jitter=0.0), URL, None)
            for each in deliveries
        ]
        results, held = await inside(queue, lambda db, *_: record_all(db, recordings))
        assert (results, held) == ([True, False, True], [])
        assert states(path) == {
            1: ("retrying", 1, 1),
            2: ("cancelled", 1, 0),
            3: ("retrying", 1, 1),
        }


async def test_a_backfill_makes_what_is_lacking_and_nothing_twice(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2", to=("mail",))
        await accept(queue, "evt_3", to=("books",))

        async def backfill() -> int:
            return await inside(
                queue,
                lambda db, numbers, ids: operate.backfill(
                    db, numbers, ids["books"], [1, 2, 3, 99], now=NOW
                ),
            )

        assert await backfill() == 2
        assert await backfill() == 0
        # Numbers go on: what is accepted next takes none that was used.
        await accept(queue, "evt_4")
        assert [each.event_id for each in await claimed(queue)] == [
            "evt_3",
            "evt_1",
            "evt_4",
            "evt_2",
        ]
        assert sorted(states(path)) == [1, 2, 3, 4, 5, 6]
    async with opened(path) as queue:
        await accept(queue, "evt_5")
        assert max(states(path)) == 7


async def test_a_failed_backfill_leaves_nothing(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", to=("mail",))

        def broken(db: sqlite3.Connection, numbers: object, ids: object) -> None:
            assert isinstance(numbers, Numbers)
            operate.backfill(db, numbers, 1, [1], now=NOW)
            raise sqlite3.OperationalError("as if the disk were full")

        with pytest.raises(Exception, match="full"):
            await inside(queue, broken)
        assert sorted(states(path)) == [1]
        await accept(queue, "evt_2")
        assert len(states(path)) == 2


async def test_pause_and_resume(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"

    async def holds(queue: Queue) -> dict[str, Hold | None]:
        return await seen(queue, subscriptions.read_holds)

    async with opened(path) as queue:
        assert await inside(queue, lambda db, *_: subscriptions.pause(db, "books", now=NOW))
        assert not await inside(queue, lambda db, *_: subscriptions.pause(db, "books", now=NOW + 9))
        assert await holds(queue) == {"books": Hold.PAUSED, "mail": None}
    async with opened(path) as queue:
        assert await holds(queue) == {"books": Hold.PAUSED, "mail": None}
        assert await inside(queue, lambda db, *_: subscriptions.resume(db, "books"))
        assert not await inside(queue, lambda db, *_: subscriptions.resume(db, "books"))
        assert not await inside(queue, lambda db, *_: subscriptions.pause(db, "nobody", now=NOW))
        assert await holds(queue) == {"books": None, "mail": None}


async def test_resume_takes_back_a_410(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        await accept(queue, "evt_1")
        [delivery] = await claimed(queue)
        await record(queue, delivery, Outcome(0.1, status=410, failure=Failure.STATUS))
        assert (await seen(queue, subscriptions.read_holds))["books"] is Hold.GONE
        await inside(queue, lambda db, *_: subscriptions.resume(db, "books"))
        assert (await seen(queue, subscriptions.read_holds))["books"] is None
        assert len(await claimed(queue)) == 1


async def test_rejected_rows_are_read_as_they_were_found(tmp_path: Path) -> None:
    async with opened(tmp_path / "queue.db") as queue:
        odd = SpoolRow(7, b"evt_1", b"Order", b'{"a":1}\x00\xff', 1.5, None, b"v")
        plain = replace(odd, seq=8, id=None)
        rejection = Rejection("invalid_type", "it is no type")
        for row in (odd, plain):
            await queue.reject([RejectedRow("spool market", row, rejection)])
        newest, first = [await seen(queue, partial(read_rejected, seq=seq)) for seq in (2, 1)]
        assert newest is not None
        assert first is not None
        assert first.row == replace(odd, seq=first.seq)
        assert (first.source, first.code, first.rejected_at) == (
            "spool market",
            "invalid_type",
            NOW,
        )
        assert newest.row.id is None
        assert newest.fingerprint != first.fingerprint
        listed = await seen(queue, lambda db: list_rejected(db, limit=10))
        assert [(each.seq, each.source, each.code) for each in listed] == [
            (2, "spool market", "invalid_type"),
            (1, "spool market", "invalid_type"),
        ]
        assert await inside(queue, lambda db, *_: drop_rejected(db, [1, 2, 99], now=NOW)) == 2
        assert await seen(queue, lambda db: read_rejected(db, 1)) is None


async def test_the_operations_search_no_whole_table(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path):
        pass
    statements: dict[str, Any] = {
        operate._REPLAY: {"now": 1, "due_at": 1, "seqs": "[1]", "delivered": True},
        operate._RETRY: {"release": 1, "seqs": "[1]"},
        operate._CANCEL: {"now": 1, "seqs": "[1]"},
        operate._LACKING: ("[1]", 1),
    }
    with closing(sqlite3.connect(path)) as db:
        for statement, values in statements.items():
            plan = [row[3] for row in db.execute(f"EXPLAIN QUERY PLAN {statement}", values)]
            assert not [line for line in plan if line.startswith("SCAN") and "json" not in line]


async def test_one_that_was_released_alone_is_attempted_once_after_a_restart(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        [delivery] = await claimed(queue)
        await record(queue, delivery, FAILED)
        assert (await queue.retry([1])).count == 1
        newest = queue.newest_release
    async with opened(path) as queue:
        # Otherwise a later attempt would seem to have begun before that release.
        assert queue.newest_release >= newest
        [delivery] = await claimed(queue)
        assert delivery.extra is Extra.OPERATOR
        recording = Recording(
            decide(delivery, FAILED, (100.0,), started_at=NOW, now=NOW, jitter=0.0),
            URL,
            None,
            newest_release=queue.newest_release,
        )
        await queue.record(recording)
        assert await claimed(queue) == []


async def test_an_attempt_of_what_was_cancelled_and_removed_meanwhile_leaves_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2")
        first, second = await claimed(queue)
        await cancel(queue, first.seq)
        later = NOW + 31 * 86_400
        assert await queue.prune(Horizon(later, later), [1]) == 1
        await record(queue, first, OK)
        await record(queue, second, OK)
    assert rows_of(path, "SELECT delivery_seq FROM attempts") == [(2,)]
