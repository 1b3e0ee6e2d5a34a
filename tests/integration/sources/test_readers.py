"""Readers that lie, talk without end, or say nothing: the daemon's side of it holds."""

import os
import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from faults.faulty_readers.liar import LIES

from relayd.config.sections import SpoolConfig
from relayd.core.acceptance import Acceptance, Rejected, RejectedRow
from relayd.core.event import Event
from relayd.core.webhook import Webhook
from relayd.crash_journal import AtWork
from relayd.sources import reader_process
from relayd.sources.pace import Pace
from relayd.sources.readers import Readers
from relayd.sources.spool import Spool
from relayd.spool.table import SPOOL_TABLE

LIAR = "faults.faulty_readers.liar"


@dataclass
class Intake:
    """Accepts what comes, and keeps it."""

    events: list[Event] = field(default_factory=list)
    rejected: list[RejectedRow] = field(default_factory=list)
    paths: tuple[str, ...] = ()

    async def accept(
        self, events: Sequence[Event], source: str, webhooks: Sequence[Webhook] = ()
    ) -> list[Acceptance]:
        del source, webhooks
        await trio.lowlevel.checkpoint()
        self.events += events
        return [Acceptance.ACCEPTED for _ in events]

    async def reject(self, rejected: Sequence[RejectedRow]) -> Rejected:
        await trio.lowlevel.checkpoint()
        self.rejected += rejected
        return Rejected(rejected)


def make(path: Path, count: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(SPOOL_TABLE.format(table="relayd_spool"))
        for number in range(count):
            db.execute(
                "INSERT INTO relayd_spool (id, type, data) VALUES (?, 'order.created', '{}')",
                (f"evt_{number}",),
            )
    return path


@asynccontextmanager
async def reading(
    *configs: SpoolConfig, intake: Intake, module: str = LIAR
) -> AsyncIterator[list[Spool]]:
    readers = Readers(module)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(readers.run)
        spools = [
            Spool(config, intake, readers, Pace(lambda: False), AtWork.unrecorded())
            for config in configs
        ]
        for spool in spools:
            nursery.start_soon(spool.run)
        yield spools
        nursery.cancel_scope.cancel()


def config(path: Path, table: str = "relayd_spool") -> SpoolConfig:
    return SpoolConfig(table, path, table, "market_123", "2024-01-01")


async def until(spool: Spool, *words: str) -> None:
    with trio.fail_after(30):
        while not all(word in str(spool.waits_for) for word in words):
            await trio.sleep(0.02)


SAYS = {
    "noise": ("sent a frame of",),
    "another_id": ("a body that is not its event's",),
    "own_type": ("invalid_type",),
    "too_large": ("a frame of 10 and 2147483648 bytes",),
    "deep": ("not JSON",),
    "half_a_frame": ("it said nothing for 3 s",),
    "silence": ("it said nothing for 6 s",),
    "chatter": ("too many reports",),
    "reads_nothing": ("took nothing for",),
    "cuts_its_page": ("SIGKILL",),
    "blames_a_delivery": ("SIGKILL",),
    "answers_of_its_own": ("a frame of kind 18",),
}


@pytest.mark.parametrize("lie", LIES)
async def test_a_reader_that_was_taken_over_harms_its_spool_alone(
    tmp_path: Path, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_process, "SILENCE_S", 6.0)
    monkeypatch.setattr(reader_process, "_FRAME_S", 3.0)
    liar, honest = make(tmp_path / "a" / "spool.db"), make(tmp_path / "b" / "spool.db", 50)
    intake = Intake()
    async with reading(config(liar, lie), config(honest), intake=intake) as [spool, sound]:
        await until(spool, *SAYS[lie], "tried again in")
        with trio.fail_after(30):
            while not {f"evt_{number}" for number in range(50)} <= {e.id for e in intake.events}:
                await trio.sleep(0.02)
        assert sound.waits_for is None
    assert not intake.rejected
    if lie != "reads_nothing":
        assert not [event for event in intake.events if event.id == "evt_lie"]


async def test_many_readers_that_promise_much_take_no_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader_process, "SILENCE_S", 6.0)
    liars = [make(tmp_path / f"l{number}" / "spool.db") for number in range(12)]
    honest = make(tmp_path / "b" / "spool.db", 20)
    intake = Intake()
    before = resident_kib()
    configs = [config(path, "half_a_frame") for path in liars]
    async with reading(*configs, config(honest), intake=intake) as spools:
        with trio.fail_after(30):
            while len(intake.events) < 20:
                await trio.sleep(0.02)
        with trio.fail_after(30):
            while not any("it said nothing" in str(each.waits_for) for each in spools):
                await trio.sleep(0.02)
        # Together they promised 190 MB.
        assert resident_kib() - before < 60 * 1024


def resident_kib() -> int:
    pages = Path("/proc/self/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") // 1024


async def test_a_template_that_does_not_start_is_tried_again(tmp_path: Path) -> None:
    honest, intake = make(tmp_path / "b" / "spool.db", 3), Intake()
    async with reading(config(honest), intake=intake, module="no.such.module") as [spool]:
        await until(spool, "template process", "tried again in")
    assert not intake.events


async def test_where_there_are_no_descriptors_left_it_waits_and_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest, intake = make(tmp_path / "b" / "spool.db", 3), Intake()

    def none_left(*_: object) -> int:
        raise OSError(24, "Too many open files")

    with monkeypatch.context() as patch:
        patch.setattr(os, "memfd_create", none_left)
        async with reading(config(honest), intake=intake) as [spool]:
            await until(spool, "no reader could be started: Too many open files")
            patch.undo()
            with trio.fail_after(30):
                while len(intake.events) < 3:
                    await trio.sleep(0.02)
            assert spool.waits_for is None


async def test_the_template_gets_no_secrets_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_SECRET", "whsec_x")
    honest, intake = make(tmp_path / "b" / "spool.db", 1), Intake()
    async with reading(config(honest), intake=intake):
        with trio.fail_after(30):
            while not intake.events:
                await trio.sleep(0.02)
        pid = os.getpid()
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        environments = [Path(f"/proc/{each}/environ").read_bytes() for each in children]
    assert environments
    assert not any(b"whsec_x" in each for each in environments)
