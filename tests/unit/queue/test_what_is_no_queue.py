"""What is at the queue's path, or beside it, and is no file: commands say so, and wait for nothing."""

import os
import socket
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from processes import make_spool, write_config

SIDES = ("", "-wal", "-shm", "-journal")
COMMANDS = ("status", "deliveries", "show evt_1", "explain evt_1", "rejected list", "backup b.db")


def put(kind: str, path: Path) -> None:
    if kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a directory":
        path.mkdir()
    elif kind == "a device":
        path.symlink_to("/dev/null")
    else:
        with closing(socket.socket(socket.AF_UNIX)) as listener:
            listener.bind(str(path))


def relayd(*arguments: str, config: Path) -> "subprocess.CompletedProcess[str]":
    """Run a command as a process: a test that waits for a FIFO would never end."""
    return subprocess.run(
        [sys.executable, "-m", "relayd", *arguments, "--config", str(config)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=config.parent,
    )


@pytest.mark.parametrize("kind", ["a FIFO", "a directory", "a device", "a socket"])
def test_a_command_says_what_is_there(tmp_path: Path, kind: str) -> None:
    config = write_config(tmp_path)
    put(kind, tmp_path / "queue.db")
    for line in COMMANDS if kind == "a FIFO" else COMMANDS[:1]:
        done = relayd(*line.split(), config=config)
        assert (done.returncode, done.stdout) == (1, ""), done
        assert f"is {kind}, not a file" in done.stderr
    checked = " ".join(relayd("check", config=config).stdout.split())
    assert f"is {kind}, not a file" in checked


@pytest.mark.parametrize("side", SIDES[1:])
def test_beside_the_queue_too(tmp_path: Path, side: str) -> None:
    config = write_config(tmp_path)
    (tmp_path / "queue.db").write_bytes(b"")
    put("a FIFO", tmp_path / f"queue.db{side}")
    done = relayd("status", config=config)
    assert (done.returncode, f"queue.db{side} is a FIFO, not a file" in done.stderr) == (1, True)


@pytest.mark.parametrize("side", SIDES)
def test_nor_does_a_spools_wait(tmp_path: Path, side: str) -> None:
    config = write_config(tmp_path)
    if side:
        make_spool(tmp_path / "spool.db")
    put("a FIFO", tmp_path / f"spool.db{side}")
    for line in ("spool status", "check", "emit order.created --sample"):
        done = relayd(*line.split(), config=config)
        shown = " ".join((done.stdout + done.stderr).split())
        assert f"spool.db{side} is a FIFO, not a file" in shown
