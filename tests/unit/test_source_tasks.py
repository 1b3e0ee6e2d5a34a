"""The sources' tasks: what a reload starts, keeps and stops, for any kind of source."""

from collections.abc import AsyncIterator, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import trio
from configs import sources_config as config
from trio.testing import MockClock, wait_all_tasks_blocked

from relayd import source_tasks
from relayd.config.config import Config
from relayd.config.sections import SpoolConfig
from relayd.crash_journal import AtWork
from relayd.source_tasks import SourceTasks
from relayd.sources.source import (
    Outbox,
    Source,
    SourceError,
    SourceIntake,
    SourceKind,
    SourceStanding,
    Surroundings,
)


class Fake(Source):
    """A source that notes what is done to it. Its path decides what fails."""

    def __init__(self, config: SpoolConfig, noted: list[str]) -> None:
        self.name = config.name
        self._path = config.path
        self._noted = noted
        self._defects = 1 if config.path.name == "defect" else 0
        if config.path.name == "refused":
            raise SourceError("it cannot be made")

    def prepare(self, config: Config) -> None:
        if config.market_id == "refused":
            raise SourceError("it cannot be followed")

    def withdraw(self) -> None:
        self._noted.append(f"{self.name} stays as it was")

    def apply(self, config: Config) -> None:
        self._noted.append(f"{self.name} applies {config.market_id}")

    async def run(self) -> None:
        self._noted.append(f"{self.name} runs")
        if self._defects:
            self._defects -= 1
            raise RuntimeError("a defect")
        try:
            await trio.sleep_forever()
        finally:
            self._noted.append(f"{self.name} ends")

    def standing(self) -> SourceStanding | None:
        return None if self.name == "hidden" else SourceStanding(str(self._path), None)

    def give_up(self) -> None:
        self._noted.append(f"{self.name} is given up")


NOTED: list[str] = []


class FakeKind(SourceKind):
    name = "fakes"

    def sources(self, config: Config) -> dict[Hashable, Callable[[], Source]]:
        return {each: partial(Fake, each, NOTED) for each in config.spools}


def spool(name: str, path: str = "spool.db") -> SpoolConfig:
    return SpoolConfig(name, Path("/nowhere") / path, "relayd_spool", "m", "v")


@asynccontextmanager
async def tasks(monkeypatch: pytest.MonkeyPatch, first: Config) -> AsyncIterator[SourceTasks]:
    monkeypatch.setattr(source_tasks, "KINDS", (FakeKind,))
    NOTED.clear()
    surroundings = Surroundings(
        cast("SourceIntake", None),
        cast("Outbox", None),
        AtWork.unrecorded(),
        clock=lambda: 0.0,
        is_behind=lambda: False,
    )
    async with trio.open_nursery() as nursery:
        sources = SourceTasks(surroundings)
        sources.start(nursery, first)
        await wait_all_tasks_blocked()
        yield sources
        nursery.cancel_scope.cancel()


async def noted() -> list[str]:
    await wait_all_tasks_blocked()
    found = sorted(NOTED)
    NOTED.clear()
    return found


async def test_a_reload_starts_keeps_and_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b, c = spool("a"), spool("b"), spool("c")
    async with tasks(monkeypatch, config(a, b)) as sources:
        assert await noted() == ["a applies m", "a runs", "b applies m", "b runs"]
        after = config(c, b, market="other")
        sources.apply(after, sources.prepare(after))
        assert await noted() == ["a ends", "b applies other", "c applies other", "c runs"]
        # As the configuration has them, whatever started first.
        assert list(sources.standing()) == ["c", "b"]
        # One that is configured in another way is another source, of the same name.
        moved = config(replace(b, path=Path("/nowhere/moved.db")))
        sources.apply(moved, sources.prepare(moved))
        assert await noted() == ["b applies m", "b ends", "b runs", "c ends"]
        assert sources.standing()["b"].path == "/nowhere/moved.db"


@pytest.mark.parametrize(
    "refused",
    [config(spool("b"), spool("c", "refused")), config(spool("b"), spool("a"), market="refused")],
)
async def test_a_reload_that_is_refused_changes_nothing(
    monkeypatch: pytest.MonkeyPatch, refused: Config
) -> None:
    async with tasks(monkeypatch, config(spool("a"))) as sources:
        await noted()
        with pytest.raises(SourceError):
            sources.prepare(refused)
        assert await noted() == ["b is given up"]
        prepared = sources.prepare(config(spool("b"), spool("a")))
        prepared.give_up()
        assert await noted() == ["a stays as it was", "b is given up"]
        assert list(sources.standing()) == ["a"]


async def test_what_was_prepared_is_undone_where_another_source_refuses(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with tasks(monkeypatch, config(spool("a"))) as sources:
        await noted()
        with pytest.raises(SourceError):
            sources.prepare(config(spool("a"), spool("c", "refused")))
        assert await noted() == ["a stays as it was"]


async def test_what_status_does_not_show_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    async with tasks(monkeypatch, config(spool("hidden"), spool("a"))) as sources:
        assert list(sources.standing()) == ["a"]


async def test_a_defect_ends_no_other_source_and_it_is_run_again(
    monkeypatch: pytest.MonkeyPatch, autojump_clock: MockClock
) -> None:
    async with tasks(monkeypatch, config(spool("a"), spool("b", "defect"))):
        await trio.sleep(2.0)
        assert await noted() == ["a applies m", "a runs", "b applies m", "b runs", "b runs"]
