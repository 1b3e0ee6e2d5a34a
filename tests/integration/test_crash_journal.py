"""What a process was at when it died: real processes that kill themselves, and the file they leave."""

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import structlog
import trio
import trio.lowlevel
from faults.injection import fill, needs_root, small_disk

from relayd.crash_journal import AtWork

DIES = """
import os, signal, sys
from pathlib import Path
import trio
from relayd.crash_journal import AtWork

def die():
    os.kill(os.getpid(), signal.SIGKILL)

async def deadly():
    await trio.sleep(0.001)
    die()

async def during(working):
    await working.drive(7, deadly())

async def wait():
    await trio.sleep(0.001)

async def and_die():
    await trio.sleep(0.01)
    die()

async def both(working):
    async with trio.open_nursery() as nursery:
        nursery.start_soon(and_die)
        await working.drive(7, trio.sleep(60))

async def after(working):
    await working.drive(7, wait())
    die()

with AtWork.recorded(Path(sys.argv[1]), after_crash=True) as working:
    match sys.argv[2]:
        case "called": working.call(-7, die)
        case "driven": trio.run(during, working)
        case "waiting": trio.run(both, working)
        case "through": trio.run(after, working)
"""


def die(path: Path, when: str) -> None:
    ended = subprocess.run([sys.executable, "-c", DIES, str(path), when], check=False, timeout=30)
    assert ended.returncode == -9


@pytest.mark.parametrize(
    ("when", "died_at"), [("called", -7), ("driven", 7), ("waiting", None), ("through", None)]
)
def test_what_ran_is_what_it_died_at(tmp_path: Path, when: str, died_at: int | None) -> None:
    path = tmp_path / "work"
    die(path, when)
    with AtWork.recorded(path, after_crash=True) as working:
        assert working.died_at == died_at
        assert list(working.deaths) == ([] if died_at is None else [died_at])


def test_three_deaths_make_poison_and_an_end_in_order_forgets(tmp_path: Path) -> None:
    path = tmp_path / "work"
    for _ in range(2):
        die(path, "driven")
    die(path, "called")
    with suppress(SystemExit), AtWork.recorded(path, after_crash=True) as working:
        assert (list(working.deaths), working.poison) == ([-7, 7, 7], frozenset())
        raise SystemExit  # not in order
    die(path, "driven")
    with AtWork.recorded(path, after_crash=True) as working:
        assert (working.died_at, working.poison) == (7, frozenset({7}))
    with AtWork.recorded(path, after_crash=True) as working:
        assert (list(working.deaths), working.poison) == ([], frozenset())


def test_after_an_end_in_order_nothing_is_believed(tmp_path: Path) -> None:
    path = tmp_path / "work"
    die(path, "driven")
    with AtWork.recorded(path, after_crash=False) as working:
        assert working.died_at is None
        assert not working.deaths


@pytest.mark.parametrize("content", [b"", b"\xff" * 100, b"\xff" * 4096, bytes(9999)])
def test_another_files_bytes_are_nobodys_death(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "work"
    path.write_bytes(content)
    with AtWork.recorded(path, after_crash=True) as working:
        assert working.died_at is None
        assert not working.poison


def test_more_deaths_than_are_remembered_forget_the_first(tmp_path: Path) -> None:
    path = tmp_path / "work"
    for key in range(1, 101):
        with suppress(SystemExit), AtWork.recorded(path, after_crash=True) as working:
            working._page[1] = key  # as if it had died there
            raise SystemExit
    with AtWork.recorded(path, after_crash=True) as working:
        assert list(working.deaths)[:64] == list(range(100, 36, -1))


@needs_root
def test_without_room_it_goes_on_unrecorded(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "64k") as disk:
        fill(disk)
        with (
            structlog.testing.capture_logs() as logs,
            AtWork.recorded(disk / "work", after_crash=True) as working,
        ):
            assert working.call(7, abs, -3) == 3
            assert not working.poison
    assert [line["event"] for line in logs] == ["crash_journal_unwritable"]


class TestDrive:
    """A driven coroutine behaves as an awaited one does."""

    async def test_it_returns_and_raises(self) -> None:
        async def returns() -> str:
            await trio.lowlevel.checkpoint()
            return "done"

        async def raises() -> None:
            await trio.lowlevel.checkpoint()
            raise KeyError("its own")

        working = AtWork.unrecorded()
        assert await working.drive(7, returns()) == "done"
        with pytest.raises(KeyError, match="its own"):
            await working.drive(7, raises())

    @pytest.mark.usefixtures("autojump_clock")
    async def test_it_is_cancelled_and_may_clean_up(self) -> None:
        seen: list[str] = []

        async def attempt() -> None:
            try:
                await trio.sleep(60)
            except trio.Cancelled:
                seen.append("cancelled")
                with trio.CancelScope(shield=True):
                    await trio.sleep(1)
                seen.append("cleaned up")
                raise

        with trio.move_on_after(5) as scope:
            await AtWork.unrecorded().drive(7, attempt())
        assert scope.cancelled_caught
        assert seen == ["cancelled", "cleaned up"]

    async def test_it_stands_there_while_it_runs_and_not_while_it_waits(self) -> None:
        working = AtWork.unrecorded()
        seen: list[tuple[str, int]] = []
        turn = trio.Event()

        async def attempt() -> None:
            seen.append(("runs", working._page[1]))
            turn.set()
            await trio.lowlevel.checkpoint()
            seen.append(("runs again", working._page[1]))

        async def another() -> None:
            await turn.wait()
            seen.append(("waits", working._page[1]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(another)
            await trio.testing.wait_all_tasks_blocked()
            await working.drive(7, attempt())
        assert sorted(seen) == [("runs", 7), ("runs again", 7), ("waits", 0)]
        assert working._page[1] == 0
