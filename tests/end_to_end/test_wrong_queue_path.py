"""A `queue.path` that names something else: it stays as it is, and nothing is made beside it."""

import os
import shutil
import signal
import socket
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
import trio
from processes import command, run_command, running, write_config


def market(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript("CREATE TABLE orders (x); INSERT INTO orders VALUES (1)")


def market_in_wal(path: Path) -> None:
    """Make one that was killed: all that it holds is in its -wal."""
    before = path.with_name("killed.db")
    with closing(sqlite3.connect(before)) as db:
        db.executescript("PRAGMA journal_mode = WAL; CREATE TABLE orders (x)")
        for side in ("", "-wal", "-shm"):
            shutil.copy(f"{before}{side}", f"{path}{side}")
    for each in path.parent.glob("killed.db*"):
        each.unlink()


def text(path: Path) -> None:
    path.write_text("market_id: market_123\n" * 20)


def a_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made:
        made.bind(str(path))


def another_programs(path: Path) -> None:
    market(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA application_id = 5")


PLACES: dict[str, tuple[Callable[[Path], object], str]] = {
    "a market's database": (market, "another program"),
    "one with its -wal": (market_in_wal, "another program"),
    "one with a mark of its own": (another_programs, "another program"),
    "a text": (text, "not a SQLite database"),
    "a directory": (Path.mkdir, "is a directory, not a file"),
    "a FIFO": (os.mkfifo, "is a FIFO, not a file"),
    "a socket": (a_socket, "is a socket, not a file"),
    "a link to a device": (lambda path: path.symlink_to("/dev/zero"), "is a device, not a file"),
}


def state(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        path.name: (path.stat().st_mode, path.read_bytes() if path.is_file() else b"")
        for path in folder.iterdir()
    }


@pytest.mark.parametrize("what", PLACES)
async def test_it_is_refused_and_left_as_it_is(tmp_path: Path, what: str) -> None:
    make, words = PLACES[what]
    folder = tmp_path / "market"
    folder.mkdir()
    make(folder / "market.db")
    if (folder / "market.db").is_file():
        (folder / "market.db").chmod(0o664)
    config = write_config(tmp_path, spools=None, queue={"path": str(folder / "market.db")})
    before = state(folder)
    done = await run_command("run", config=config)
    assert done.returncode == 1
    assert words in done.stderr.decode()
    assert state(folder) == before
    # Nor does a command that reads wait for a pipe.
    assert "market.db" in await command("status", config=config, status=1)
    assert state(folder) == before


async def test_a_queue_that_is_still_in_its_wal_is_one(tmp_path: Path) -> None:
    config = write_config(tmp_path, spools=None)
    async with running(config) as daemon:
        daemon.signal(signal.SIGKILL)
        with trio.fail_after(10):
            await daemon.process.wait()
    queue = tmp_path / "queue.db"
    assert queue.stat().st_size < queue.with_name("queue.db-wal").stat().st_size
    assert queue.read_bytes()[68:72] == bytes(4), "its mark is in the -wal alone"
    queue.with_name("queue.db-shm").unlink()
    async with running(config):
        assert "0 deliveries" in await command("status", config=config)


@pytest.mark.parametrize("content", [None, b""])
async def test_what_is_empty_becomes_one(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "queue.db").write_bytes(content)
    async with running(write_config(tmp_path, spools=None)):
        assert (tmp_path / "queue.db").stat().st_mode & 0o777 == 0o600 or content is None
