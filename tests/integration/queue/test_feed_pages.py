"""The feed of a real queue's file: nothing is skipped, nothing comes twice, and each gap is reported."""

import json
import random
import shutil
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from events import make_event
from queue_file import OK, accept, claimed, opened, record, rows_of

from relayd.core.acceptance import NewEvent
from relayd.core.feed import Entitlement, FeedCursor, FeedGapError, FeedPage, FeedWish, parse_cursor
from relayd.database import sqlite_loop
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.reader import SQLiteReader
from relayd.queue.values import Cursor, Declared, Horizon

EVERYTHING = Entitlement(None)
READER = Path(__file__).parents[2] / "feed_reader.py"


def read(
    path: Path, after: FeedCursor | None = None, limit: int = 100, wanted: Entitlement = EVERYTHING
) -> FeedPage:
    with SQLiteReader(path).snapshot() as snapshot:
        return snapshot.feed(after, FeedWish(wanted, limit, lambda: False))


def ids(page: FeedPage) -> list[str]:
    return [json.loads(each)["id"] for each in page.events]


async def test_pages_follow_each_other_and_have_the_stored_bytes(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        assert read(path) == read(path, read(path).next)
        await accept(queue, "evt_1", "evt_2")
        await accept(queue, "evt_3", to=())
        first = read(path, limit=2)
        assert (ids(first), first.more) == (["evt_1", "evt_2"], True)
        assert first.events[0] == make_event("evt_1").body
        second = read(path, first.next, limit=2)
        assert (ids(second), second.more) == (["evt_3"], False)
        assert parse_cursor(str(second.next)) == second.next
        await accept(queue, "evt_4")
        assert ids(read(path, second.next)) == ["evt_4"]


async def test_a_cursor_before_what_was_removed_is_told_so_once(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2", "evt_3")
        deliveries = await claimed(queue)
        for each in deliveries[1:]:
            await record(queue, each, OK)
        begin = read(path, limit=1)
        # The oldest one still waits: what is removed lies behind it.
        async with queue.survey() as survey:
            horizon = Horizon(1e12, 0.0)
            step = await survey.prunable(horizon, Cursor())
        assert await queue.prune(horizon, step.events) == 2
        with pytest.raises(FeedGapError) as found:
            read(path, begin.next)
        page = read(path, found.value.oldest)
        assert (ids(page), page.more) == (["evt_1"], False)
        assert ids(read(path, page.next)) == []
        await record(queue, deliveries[0], OK)
        assert await queue.prune(horizon, [1]) == 1
        assert ids(read(path, page.next)) == [], "it had read that one"
        with pytest.raises(FeedGapError):
            read(path, found.value.oldest)


async def test_a_quiet_queue_keeps_its_readers_when_even_ids_are_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1", "evt_2", to=())
        end, before = read(path).next, read(path, limit=1).next
        assert await queue.prune(Horizon(1e12, 1e12), [1, 2]) == 2
        assert read(path, end).events == ()
        with pytest.raises(FeedGapError):
            read(path, before)
        await accept(queue, "evt_3", to=())
        assert ids(read(path, end)) == ["evt_3"]


async def test_a_cursor_of_another_queue_or_of_after_a_backup_is_a_gap(tmp_path: Path) -> None:
    path, backup = tmp_path / "queue.db", tmp_path / "backup.db"
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        old = read(path).next
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(backup)) as copy:
            source.backup(copy)
        await accept(queue, "evt_2")
        lost = read(path).next
    for each in tmp_path.glob("queue.db*"):
        each.unlink()
    shutil.copy(backup, path)
    async with opened(path) as queue:
        await accept(queue, "evt_2b", "evt_3")
        assert ids(read(path, old)) == ["evt_2b", "evt_3"]
        # Its number is taken by another event in a test's frozen time, and by none in real time.
        with pytest.raises(FeedGapError):
            read(path, FeedCursor(lost.queue, lost.sequence + 5, lost.removal))
    for each in tmp_path.glob("queue.db*"):
        each.unlink()
    async with opened(path) as queue:
        await accept(queue, "evt_1")
        with pytest.raises(FeedGapError) as found:
            read(path, old)
        assert ids(read(path, found.value.oldest)) == ["evt_1"]


async def test_a_page_of_many_events_is_read_at_once(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    count = 300_000
    async with opened(path) as queue:
        await accept(queue, "evt_1")
    body = make_event("evt_1").body
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "WITH RECURSIVE n(value) AS (SELECT 2 UNION ALL SELECT value + 1 FROM n"
            " WHERE value < ?3) INSERT INTO events (seq, market_id, id, type, created,"
            " accepted_at, source, digest, body, sequence) SELECT value, 'm', 'evt_' || value,"
            " 'order.created', 1, 1.0, 's', x'00', iif(value < ?1, NULL, ?2),"
            " value + (SELECT sequence FROM events WHERE seq = 1) FROM n",
            (count // 2, body, count),
        )
        db.commit()
        [(newest,)] = db.execute("SELECT max(sequence) FROM events").fetchall()
    oldest = read(path, limit=1).next
    middle = FeedCursor(oldest.queue, newest - count // 4, oldest.removal)
    began = time.process_time()
    assert len(read(path, middle).events) == 100
    assert time.process_time() - began < 0.05


@dataclass
class Life:
    """What was done to a queue, and what its reader saw. Times are Unix seconds.

    `accepted` has when each event's acceptance began and ended. `kept` are those that were kept at the
    end. `runs` are the ids that the reader got from its beginning, or from a gap, on, with that time.
    """

    accepted: dict[str, tuple[float, float]] = field(default_factory=dict)
    kept: set[str] = field(default_factory=set)
    runs: list[tuple[float, list[str]]] = field(default_factory=list)

    def skipped(self) -> list[str]:
        """Return the events that were passed over without a gap."""
        found = []
        for began, run in self.runs:
            seen = set(run)
            newest = max((self.accepted[each][0] for each in run), default=0.0)
            found += [
                each
                for each, (begin, end) in self.accepted.items()
                if each not in seen and begin > began and end < newest
            ]
        return found


async def live(path: Path, seed: int, *arguments: str) -> Life:
    """Let three write, and all that removes remove, for some seconds, beside a reader that falls behind."""
    chance, life = random.Random(seed), Life()
    async with sqlite_loop(), open_queue(path, time.time) as queue:
        await queue.declare([Declared("books", "https://app.example/hook", True)])
        limit = str(chance.choice([1, 7, 50]))
        reader = await trio.lowlevel.open_process(
            [sys.executable, str(READER), str(path), limit, "evt_last", *arguments],
            stdout=subprocess.PIPE,
        )
        until = trio.current_time() + 3

        async def put(*ids: str, to: tuple[str, ...] = ()) -> None:
            began = time.time()
            await queue.accept([NewEvent(make_event(each), "socket", to) for each in ids])
            life.accepted.update(dict.fromkeys(ids, (began, time.time())))

        async def write(writer: int) -> None:
            number = 0
            while trio.current_time() < until:
                batch = [f"evt_{writer}_{number + n}" for n in range(chance.randint(1, 5))]
                number += len(batch)
                await put(*batch, to=("books",) if chance.random() < 0.3 else ())
                await trio.sleep(chance.random() * 0.01)

        async def prune() -> None:
            """Remove as retention and max_size do: from the oldest on, what has ended, in steps."""
            while trio.current_time() < until:
                await trio.sleep(chance.random() * 0.2)
                ended = time.time() - chance.choice([0.02, 0.5, 1.0])
                # Sometimes the ids stay.
                horizon = Horizon(ended, chance.choice([0.0, ended - 0.5, ended]))
                async with queue.survey() as survey:
                    cursor: Cursor | None = Cursor()
                    while cursor is not None:
                        step = await survey.prunable(horizon, cursor)
                        await queue.prune(horizon, step.events)
                        cursor = step.cursor
                        await trio.sleep(0.002)

        async def deliver() -> None:
            while trio.current_time() < until:
                for each in await claimed(queue, now=time.time()):
                    if chance.random() < 0.7:
                        await record(queue, each, OK)
                await trio.sleep(0.05)

        output = b""

        async def listen() -> None:
            nonlocal output
            assert reader.stdout is not None
            async for chunk in reader.stdout:
                output += chunk

        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(listen)
                async with trio.open_nursery() as working:
                    for writer in range(3):
                        working.start_soon(write, writer)
                    working.start_soon(prune)
                    working.start_soon(deliver)
                rows = rows_of(path, "SELECT id FROM events WHERE body IS NOT NULL")
                life.kept = {str(each) for (each,) in rows}
                await put("evt_last")
                with trio.fail_after(60):
                    await reader.wait()
        finally:
            if reader.returncode is None:
                reader.kill()
    for line in output.splitlines():
        step = json.loads(line)
        if "began" in step:
            life.runs.append((step["began"], []))
        else:
            life.runs[-1][1].extend(step["ids"])
    return life


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_a_reader_gets_each_event_once_or_hears_of_a_gap(tmp_path: Path, seed: int) -> None:
    life = await live(tmp_path / "queue.db", seed)
    assert len(life.accepted) > 200
    assert life.accepted.keys() - life.kept - {"evt_last"}, "some were removed"
    for _, run in life.runs:
        assert len(set(run)) == len(run), "nothing twice"
    assert life.skipped() == []
    last = life.runs[-1][1]
    assert last[-1] == "evt_last"
    assert life.kept <= set(last), "all that is kept was handed out since the last gap"


async def test_the_harness_finds_what_a_reader_without_gaps_loses(tmp_path: Path) -> None:
    assert (await live(tmp_path / "queue.db", 2, "blind")).skipped()
