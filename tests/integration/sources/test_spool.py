"""Spools on real files, written by other processes: the sqlite3 shell, and Python's own."""

import shutil
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
import trio
from configs import sources_config
from trio.testing import MockClock

from relayd.config.config import Config
from relayd.config.sections import QueueConfig, SpoolConfig
from relayd.core.acceptance import Acceptance, Rejected, RejectedRow
from relayd.core.event import Event
from relayd.core.quarantine import NOTHING
from relayd.core.webhook import Webhook
from relayd.crash_journal import AtWork
from relayd.queue.interface import QueueUnavailable
from relayd.sources.pace import Pace
from relayd.sources.reader_process import Frame, ReaderEndedError, ReaderProcess
from relayd.sources.readers import Readers
from relayd.sources.spool import Spool
from relayd.spool.table import SPOOL_TABLE
from relayd.spool.text_frames import Settings

INSERT = "INSERT INTO relayd_spool (type, data) VALUES ('order.created', '{\"object\":{}}')"


@dataclass
class Intake:
    """Accepts what a spool hands over, and lets a test wait for it."""

    events: list[Event] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    paths: tuple[str, ...] = ()
    errors: list[Exception] = field(default_factory=list)
    changed: trio.Condition = field(default_factory=trio.Condition)

    async def accept(
        self, events: Sequence[Event], source: str, webhooks: Sequence[Webhook] = ()
    ) -> list[Acceptance]:
        assert not webhooks
        if self.errors:
            raise self.errors.pop(0)
        assert source == "spool market"
        known = {event.id: event.digest for event in self.events}
        results = []
        for event in events:
            if event.id in known:
                same = known[event.id] == event.digest
                results.append(Acceptance.DUPLICATE if same else Acceptance.CONFLICT)
                continue
            known[event.id] = event.digest
            self.events.append(event)
            results.append(Acceptance.ACCEPTED)
        async with self.changed:
            self.changed.notify_all()
        return results

    async def reject(self, rejected: Sequence[RejectedRow]) -> Rejected:
        self.rejected += rejected
        async with self.changed:
            self.changed.notify_all()
        return Rejected(rejected)

    async def wait_for(self, *, events: int = 0, rejected: int = 0) -> None:
        with trio.fail_after(30):
            async with self.changed:
                while len(self.events) < events or len(self.rejected) < rejected:
                    await self.changed.wait()


@pytest.mark.parametrize("why", ["barred", "no folder"])
async def test_a_link_is_followed_again_at_a_reload_while_no_reader_runs(
    tmp_path: Path, why: str
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        shell(create(folder / "spool.db"), INSERT)
    (link := tmp_path / "link").symlink_to(first)
    path, intake = link / "spool.db", Intake()
    config = sources_config(SpoolConfig("market", path, "relayd_spool", "m", "v"))
    async with reading(path, intake) as spool:
        if why == "barred":  # the queue's file is where the link leads
            queue = QueueConfig(first / "spool.db", 1.0)
            config = replace(config, queue=queue)
        else:
            shutil.rmtree(first)
        spool.apply(config)
        with trio.fail_after(30):
            while spool.waits_for is None:
                await trio.sleep(0.01)
        link.unlink()
        link.symlink_to(second)
        # Who can change the link decides nothing; who can have the configuration read does.
        await trio.sleep(2.5)
        assert intake.events == []
        spool.apply(config)
        await intake.wait_for(events=1)
        await until_empty(second / "spool.db")


async def test_a_reload_that_changes_nothing_follows_no_link_later(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    for folder in (first, second):
        folder.mkdir()
        shell(create(folder / "spool.db"), INSERT)
    (link := tmp_path / "link").symlink_to(first)
    path, intake = link / "spool.db", Intake()
    config = sources_config(SpoolConfig("market", path, "relayd_spool", "m", "v"))
    async with reading(path, intake) as spool:
        await intake.wait_for(events=1)
        spool.apply(config)
        shell(first / "spool.db", INSERT)  # a frame after which the reload is seen
        await intake.wait_for(events=2)
        await trio.sleep(1.0)
        link.unlink()
        link.symlink_to(second)
        with trio.fail_after(30):
            while spool.waits_for is None:
                await trio.sleep(0.01)
        assert "leads to" in spool.waits_for
        await trio.sleep(2.5)
        assert len(intake.events) == 2


@asynccontextmanager
async def reading(path: Path, intake: Intake, table: str = "relayd_spool") -> AsyncIterator[Spool]:
    config = SpoolConfig("market", path, table, "market_123", "2024-01-01")
    readers = Readers()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(readers.run)
        spool = Spool(config, intake, readers, Pace(lambda: False), AtWork.unrecorded())
        nursery.start_soon(spool.run)
        yield spool
        nursery.cancel_scope.cancel()


class ReloadedMeanwhile(Readers):
    """Readers that start only after a reload with other paths."""

    spool: Spool

    def __init__(self, intake: Intake, config: Config) -> None:
        super().__init__()
        self.intake, self.config = intake, config

    @asynccontextmanager
    async def reader(self, settings: Settings) -> AsyncIterator[ReaderProcess]:
        if settings.paths == ("data.object.a",):
            self.intake.paths = ("data.object.b",)
            self.spool.apply(self.config)
        async with super().reader(settings) as started:
            yield started


async def test_a_reload_while_its_reader_starts_mixes_up_no_values(tmp_path: Path) -> None:
    intake, path = Intake(paths=("data.object.a",)), create(tmp_path / "spool.db")
    shell(
        path, """INSERT INTO relayd_spool (type, data) VALUES ('a.b', '{"object":{"a":1,"b":2}}')"""
    )
    config = SpoolConfig("market", path, "relayd_spool", "market_123", "2024-01-01")
    readers = ReloadedMeanwhile(intake, sources_config(config))
    readers.spool = Spool(config, intake, readers, Pace(lambda: False), AtWork.unrecorded())
    readers.spool.apply(readers.config)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(readers.run)
        nursery.start_soon(readers.spool.run)
        await intake.wait_for(events=1)
        nursery.cancel_scope.cancel()
    [event] = intake.events
    assert event.values == {"data.object.a": [1]}


def create(path: Path, *, journal: str = "wal", table: str = "relayd_spool") -> Path:
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA journal_mode = {journal}")
        db.execute(SPOOL_TABLE.format(table=table))
    return path


def shell(path: Path, *statements: str) -> None:
    """Run statements in the sqlite3 shell, as its own process; in Python's where there is none."""
    script = ";".join(statements)
    if shutil.which("sqlite3"):
        command = ["sqlite3", "-cmd", ".timeout 5000", str(path), script]
    else:
        program = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).executescript(sys.argv[2])"
        command = [sys.executable, "-c", program, str(path), script]
    subprocess.run(command, check=True, timeout=30)


def execute(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path, timeout=30, isolation_level=None)) as db:
        db.execute(statement, values)


def left(path: Path) -> int:
    with closing(sqlite3.connect(path, timeout=30)) as db:
        return int(db.execute("SELECT count(*) FROM relayd_spool").fetchone()[0])


async def until_empty(path: Path) -> None:
    with trio.fail_after(30):
        while left(path):
            await trio.sleep(0.01)


@pytest.mark.parametrize("journal", ["wal", "delete"])
async def test_rows_of_the_sqlite3_shell_are_taken_in_and_then_deleted(
    tmp_path: Path, journal: str
) -> None:
    path, intake = create(tmp_path / "spool.db", journal=journal), Intake()
    shell(path, INSERT, INSERT)
    async with reading(path, intake):
        await intake.wait_for(events=2)
        await trio.to_thread.run_sync(shell, path, INSERT)
        await intake.wait_for(events=3)
        await until_empty(path)
    first = intake.events[0]
    assert first.id.startswith("evt_")
    assert (first.type, first.market_id, first.api_version) == (
        "order.created",
        "market_123",
        "2024-01-01",
    )


async def test_a_row_in_the_same_transaction_as_the_order_comes_with_its_commit(
    tmp_path: Path,
) -> None:
    path, intake = create(tmp_path / "market.db"), Intake()
    shell(path, "CREATE TABLE orders (id TEXT)")
    program = f"""
import sqlite3, sys
db = sqlite3.connect({str(path)!r}, isolation_level=None)
db.execute("BEGIN IMMEDIATE")
db.execute("INSERT INTO orders VALUES ('order_456')")
db.execute({INSERT!r})
print("inserted", flush=True)
sys.stdin.readline()
db.execute("COMMIT")
"""
    async with reading(path, intake):
        process = await trio.lowlevel.open_process(
            [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert process.stdout is not None
        assert process.stdin is not None
        assert (await process.stdout.receive_some(20)).startswith(b"inserted")
        assert intake.events == []
        await process.stdin.send_all(b"\n")
        await intake.wait_for(events=1)
        await process.wait()


async def test_thousands_of_rows_and_lower_numbers_are_all_read(tmp_path: Path) -> None:
    path, intake = create(tmp_path / "spool.db"), Intake()
    with closing(sqlite3.connect(path)) as db:
        db.executemany(
            "INSERT INTO relayd_spool (seq, id, type, data) VALUES (?, ?, 'order.created', '{}')",
            [(1000 + number, f"evt_{number}") for number in range(3000)],
        )
        db.commit()
    async with reading(path, intake):
        await intake.wait_for(events=3000)
        execute(
            path,
            "INSERT INTO relayd_spool (seq, id, type, data) VALUES (5, 'evt_low', 'a.b', '{}')",
        )
        await intake.wait_for(events=3001)
        await until_empty(path)
    assert len({event.id for event in intake.events}) == 3001


async def test_a_bad_row_is_rejected_with_its_reason_and_blocks_nothing(tmp_path: Path) -> None:
    path, intake = tmp_path / "spool.db", Intake()
    # A market's own table may check less than ours does.
    execute(
        path,
        "CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY AUTOINCREMENT, id, type, data,"
        " created, market_id, api_version)",
    )
    rows: list[tuple[object, ...]] = [
        ("evt_1", "order.created", "{", 1),
        ("evt.2", "order.created", "{}", 1),
        ("evt_3", "Order Created", "{}", 1),
        ("evt_4", "order.created", "[]", 1),
        ("evt_5", "order.created", b'{"a":"\xff"}', 1),
        ("evt_6", "order.created", "{}", "yesterday"),
        (None, "order.created", "{}", 1),
        ("evt_8", "order.created", None, 1),
        ("evt_9", "order.created", '{"a":"' + "x" * 1_048_576 + '"}', 1),
        ("evt_10", "order.created", "[" * 100_000, 1),
        ("evt_11", "order.created", b'{"a":"\xed\xa0\x80"}', 1),
        ("evt_12", "order.created", "{}", 1),
    ]
    with closing(sqlite3.connect(path)) as db:
        db.executemany(
            "INSERT INTO relayd_spool (id, type, data, created) VALUES (?, ?, ?, ?)", rows
        )
        db.execute(
            "INSERT INTO relayd_spool (id, type, data, created)"
            " VALUES ('evt_13', 'order.created', CAST(x'7b22ff227d' AS TEXT), 1)"
        )
        db.execute(
            "INSERT INTO relayd_spool (id, type, data, created)"
            " VALUES ('evt_14' || char(0), 'order.created', '{}', 1)"
        )
        db.commit()
    async with reading(path, intake):
        await intake.wait_for(events=1, rejected=13)
        await until_empty(path)
    assert [event.id for event in intake.events] == ["evt_12"]
    codes = [each.rejection.code for each in intake.rejected]
    assert codes == [
        "invalid_json",
        "invalid_id",
        "invalid_type",
        "invalid_data",
        "invalid_text",
        "invalid_created",
        "missing_key",
        "missing_key",
        "too_large",
        "too_deep",
        "invalid_text",
        "invalid_text",
        "invalid_id",
    ]


async def test_a_known_id_with_other_content_is_rejected(tmp_path: Path) -> None:
    path, intake = create(tmp_path / "spool.db"), Intake()
    insert = "INSERT INTO relayd_spool (id, type, data) VALUES ('evt_1', 'order.created', ?)"
    async with reading(path, intake):
        execute(path, insert, '{"n": 1}')
        await intake.wait_for(events=1)
        await until_empty(path)
        execute(path, insert, '{"n": 1}')
        await until_empty(path)
        assert intake.rejected == []
        execute(path, insert, '{"n": 2}')
        await intake.wait_for(rejected=1)
        await until_empty(path)
    assert intake.rejected[0].rejection.code == "id_conflict"
    assert len(intake.events) == 1


async def test_a_missing_file_is_waited_for_and_never_created(tmp_path: Path) -> None:
    path, intake = tmp_path / "spool.db", Intake()
    async with reading(path, intake) as spool:
        with trio.fail_after(30):
            while spool.waits_for is None:
                await trio.sleep(0.01)
        assert f"relayd spool create {path}" in spool.waits_for
        assert not path.exists()
        create(path)
        shell(path, INSERT)
        await intake.wait_for(events=1)


async def test_a_missing_table_is_waited_for(tmp_path: Path) -> None:
    path, intake = tmp_path / "market.db", Intake()
    shell(path, "CREATE TABLE orders (id TEXT)")
    async with reading(path, intake) as spool:
        with trio.fail_after(30):
            while spool.waits_for is None:
                await trio.sleep(0.01)
        assert "relayd spool sql" in spool.waits_for
        create(path)
        shell(path, INSERT)
        await intake.wait_for(events=1)


async def test_a_trigger_on_the_table_is_refused(tmp_path: Path) -> None:
    path, intake = create(tmp_path / "spool.db"), Intake()
    shell(
        path,
        "CREATE TRIGGER meddle AFTER DELETE ON relayd_spool BEGIN DELETE FROM relayd_spool; END",
        INSERT,
    )
    async with reading(path, intake) as spool:
        with trio.fail_after(30):
            while spool.waits_for is None:
                await trio.sleep(0.01)
        assert "has a trigger" in spool.waits_for
    assert intake.events == []
    assert left(path) == 1


async def test_a_locked_file_is_waited_for(tmp_path: Path) -> None:
    path, intake = create(tmp_path / "spool.db"), Intake()
    async with reading(path, intake) as spool:
        await trio.sleep(0.1)
        with closing(sqlite3.connect(path, isolation_level=None)) as holder:
            holder.execute(INSERT)
            holder.execute("BEGIN IMMEDIATE")
            # It is accepted, but cannot be deleted yet.
            await intake.wait_for(events=1)
            with trio.fail_after(30):  # a lock may be held for 5 s before that is worth a word
                while spool.waits_for is None:
                    await trio.sleep(0.01)
            assert "lock" in spool.waits_for
            holder.execute("ROLLBACK")
        await until_empty(path)
    assert len(intake.events) == 1


async def test_a_replaced_file_is_read_in_place_of_the_old_one(tmp_path: Path) -> None:
    path, intake = create(tmp_path / "spool.db"), Intake()
    async with reading(path, intake):
        shell(path, INSERT)
        await intake.wait_for(events=1)
        await until_empty(path)
        other = create(tmp_path / "other.db", journal="delete")
        shell(other, INSERT)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        other.replace(path)
        await intake.wait_for(events=2)
        await until_empty(path)
        shell(path, INSERT)
        await intake.wait_for(events=3)


async def test_a_restored_backup_brings_nothing_twice(tmp_path: Path) -> None:
    path, intake = create(tmp_path / "spool.db", journal="delete"), Intake()
    shell(path, INSERT, INSERT)
    backup = shutil.copy(path, tmp_path / "backup.db")
    async with reading(path, intake):
        await intake.wait_for(events=2)
        await until_empty(path)
        Path(backup).replace(path)
        await until_empty(path)
    assert len(intake.events) == 2


async def test_a_vacuum_changes_nothing(tmp_path: Path) -> None:
    path, intake = create(tmp_path / "spool.db"), Intake()
    async with reading(path, intake):
        shell(path, INSERT)
        await intake.wait_for(events=1)
        await until_empty(path)
        await trio.to_thread.run_sync(shell, path, "VACUUM", INSERT)
        await intake.wait_for(events=2)


async def test_rows_stay_while_the_queue_has_no_room(tmp_path: Path) -> None:
    path, intake = create(tmp_path / "spool.db"), Intake()
    intake.errors = [QueueUnavailable(tmp_path / "queue.db", "the disk is full")]
    shell(path, INSERT)
    async with reading(path, intake) as spool:
        with trio.fail_after(30):
            while spool.waits_for is None:
                await trio.sleep(0.01)
        assert "the disk is full" in spool.waits_for
        assert left(path) == 1
        await intake.wait_for(events=1)
        await until_empty(path)
        with trio.fail_after(30):
            while spool.waits_for is not None:
                await trio.sleep(0.01)


async def test_a_table_of_another_name(tmp_path: Path) -> None:
    quoted = '"odd ""name"'
    path, intake = create(tmp_path / "spool.db", table=quoted), Intake()
    async with reading(path, intake, table='odd "name'):
        execute(path, f"INSERT INTO {quoted} (type, data) VALUES ('a.b', '{{}}')")
        await intake.wait_for(events=1)


class DyingReaders(Readers):
    """Each reader dies at a row, another one each time, or while it is at none."""

    def __init__(self, *, at_rows: bool) -> None:
        super().__init__()
        self.starts: list[float] = []
        self.at_rows = at_rows

    @asynccontextmanager
    async def reader(self, settings: Settings) -> AsyncIterator[ReaderProcess]:
        assert settings.table == "relayd_spool"
        self.starts.append(trio.current_time())
        yield cast("ReaderProcess", self)

    def at_work(self) -> int:
        alternate = not self.at_rows and len(self.starts) % 2
        return NOTHING if alternate else -len(self.starts)

    @asynccontextmanager
    async def frame(self) -> AsyncIterator[Frame]:
        if self.starts:
            raise ReaderEndedError("killed by SIGSEGV", -11)
        yield cast("Frame", None)


@pytest.mark.parametrize("at_rows", [True, False])
async def test_ever_new_rows_that_kill_the_reader_have_one_bound(
    tmp_path: Path, autojump_clock: MockClock, monkeypatch: pytest.MonkeyPatch, *, at_rows: bool
) -> None:
    async def at_once(function: Callable[..., object], *args: object) -> object:
        return function(*args)

    # The clock would jump while a thread looks at the folder.
    monkeypatch.setattr(trio.to_thread, "run_sync", at_once)
    create(tmp_path / "spool.db")
    config = SpoolConfig(
        "market", tmp_path / "spool.db", "relayd_spool", "market_123", "2024-01-01"
    )
    readers = DyingReaders(at_rows=at_rows)
    spool = Spool(config, Intake(), readers, Pace(lambda: False), AtWork.unrecorded())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(spool.run)
        await trio.sleep(3_600)
        waits_for = spool.waits_for
        nursery.cancel_scope.cancel()
    # Nine at once, then longer and longer; 60 an hour from then on.
    assert 60 < len(readers.starts) < 80
    assert readers.starts[9] - readers.starts[0] < 20
    assert waits_for is not None
    assert "tried again in 60 s" in waits_for
    assert "its reader" in waits_for
