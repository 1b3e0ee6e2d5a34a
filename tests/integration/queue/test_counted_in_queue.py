"""Counted own events in a real file: bounded steps, other names, and listeners that come and go."""

import json
import sqlite3
from pathlib import Path

import pytest
import trio
from queue_file import NOW, OK, URL, accept, age_notices, claimed, opened, record, rows_of

from relayd.core.own_events import EXHAUSTED, Counted, OutboxRow, OwnEvent
from relayd.queue.interface import QueueUnavailable
from relayd.queue.sqlite import outbox
from relayd.queue.sqlite.queue import Queue
from relayd.queue.values import Declared

DECLARED = [Declared("books", URL, True), Declared("mail", URL, True)]
WANTED = frozenset({EXHAUSTED})


def happening(subject: str, number: int = 1) -> Counted:
    return Counted(EXHAUSTED, subject, 1, NOW, (f"dlv_{number}",), {"reason": "no"})


async def taken(queue: Queue) -> list[OwnEvent]:
    """Take all own events off the queue, and return them."""
    found: list[OwnEvent] = []
    with trio.move_on_after(0.2):
        while True:
            rows = await queue.outbox()
            await queue.remove_from_outbox(rows)
            found += [each.event for each in rows]
    return found


def counts(events: list[OwnEvent]) -> dict[object, object]:
    things = [each.data["object"] for each in events]
    return {each["subscription"]: each["count"] for each in things if isinstance(each, dict)}


async def test_thousands_that_are_due_at_once_are_all_reported(tmp_path: Path) -> None:
    path, names = tmp_path / "queue.db", [f"s{number}" for number in range(1_050)]
    async with opened(path) as queue:
        await queue.declare(DECLARED, WANTED)
        for number in range(3):
            await queue.report([happening(name, number) for name in names])
        assert counts(await taken(queue)) == dict.fromkeys(names, 1)
    age_notices(path, 601)
    async with opened(path) as queue:
        await queue.declare(DECLARED, WANTED)
        await queue.report_due()
        assert counts(await taken(queue)) == dict.fromkeys(names, 2)
        await queue.report_due()
        assert await taken(queue) == []
    age_notices(path, 601)
    async with opened(path) as queue:
        await queue.declare(DECLARED, WANTED)
        await queue.report_due()
        assert await taken(queue) == []
    assert rows_of(path, "SELECT * FROM notices") == []


async def test_what_nobody_wants_is_not_counted_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await queue.report([happening("books")])
        assert rows_of(path, "SELECT * FROM notices") == []
        await queue.declare(DECLARED, WANTED)
        await queue.report([happening("books"), happening("mail")])
        await queue.report([happening("books")])
        assert len(await taken(queue)) == 2
    age_notices(path, 601)
    async with opened(path) as queue:  # nobody listens any more
        await queue.report_due()
        assert await taken(queue) == []
    assert rows_of(path, "SELECT * FROM notices") == []


async def test_exhausted_deliveries_go_on_counting_under_the_new_name(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await queue.declare(DECLARED, WANTED)
        await queue.report([happening("books", 1)])
        await queue.report([happening("books", 2), happening("mail", 3)])
        await queue.report([happening("mail", 4)])
        assert len(await taken(queue)) == 2
        await queue.hand_over("books", "mail", after=0, in_flight=())
        await queue.hand_over("books", "mail", after=0, in_flight=())
    found = rows_of(path, "SELECT subject, count, ids FROM notices")
    assert found == [("mail", 2, json.dumps(["dlv_2", "dlv_4"]))]


async def test_an_attempt_that_succeeds_or_is_retried_writes_no_notice(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await queue.declare(DECLARED, frozenset({EXHAUSTED}))
        await accept(queue, "evt_1")
        [delivery] = await claimed(queue)
        statements: list[str] = []
        await queue._writer.write(lambda db: db.set_trace_callback(statements.append))
        assert await record(queue, delivery, OK)
        await queue._writer.write(lambda db: db.set_trace_callback(None))
    assert statements
    assert not [each for each in statements if "notices" in each]


async def test_own_events_that_could_not_be_read_are_read_the_next_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def locked(*_: object) -> list[OutboxRow]:
        error = sqlite3.OperationalError("database is locked")
        error.sqlite_errorcode = sqlite3.SQLITE_BUSY
        raise error

    async with opened(tmp_path / "queue.db") as queue:
        await queue.declare(DECLARED, WANTED)
        await queue.report([happening("books")])
        with monkeypatch.context() as patch:
            patch.setattr(outbox, "read", locked)
            with pytest.raises(QueueUnavailable):
                await queue.outbox()
        with trio.fail_after(5):
            assert len(await queue.outbox()) == 1
