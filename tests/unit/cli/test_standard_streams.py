"""What a command does when standard output is full, closed, or no longer read: a line, no traceback."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RELAYD = (sys.executable, "-m", "relayd")
COMMANDS = (("types",), ("schema",), ("--help",), ("spool", "sql"), ("check", "--help"))


@pytest.mark.parametrize("command", COMMANDS)
def test_a_full_disk(command: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        ended = subprocess.run(
            [*RELAYD, *command], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert ended.returncode == 1
    assert (
        ended.stderr
        == "relayd: cannot write to standard output: No space left on device\n"
    )  # fmt: skip


@pytest.mark.parametrize("command", COMMANDS)
def test_a_closed_one(command: tuple[str, ...]) -> None:
    closed = subprocess.run(
        ["sh", "-c", '"$@" >&-', "sh", *RELAYD, *command],
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert closed.returncode == 1
    assert closed.stderr == "relayd: cannot write to standard output: it is closed\n"


def test_nothing_that_is_opened_becomes_standard_output(tmp_path: Path) -> None:
    # What nobody prints fails at nothing, and no file of relayd's gets the closed one's number.
    path = tmp_path / "spool.db"
    made = subprocess.run(
        ["sh", "-c", '"$@" >&- 2>&- <&-', "sh", *RELAYD, "spool", "create", str(path)], check=False
    )
    assert made.returncode == 1  # it says what it made
    assert path.read_bytes()[:16] == b"SQLite format 3\0"
    assert b"Made" not in path.read_bytes()


def test_an_error_that_cannot_be_printed() -> None:
    ended = subprocess.run(
        ["sh", "-c", '"$@" 2>/dev/full', "sh", *RELAYD, "nosuch"], capture_output=True, check=False
    )
    assert ended.returncode != 0
    assert ended.stdout + ended.stderr == b""


def test_a_reader_that_leaves() -> None:
    process = subprocess.Popen(
        [*RELAYD, "schema"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, pipesize=4096
    )
    assert process.stdout is not None
    assert process.stderr is not None
    process.stdout.read(1)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.wait(20) == 1


@pytest.mark.parametrize("module", ["trio", "structlog", "click"])
def test_ctrl_c_while_it_is_being_loaded(tmp_path: Path, module: str) -> None:
    # In place of a module that takes a moment to load.
    reached = tmp_path / "reached"
    (tmp_path / f"{module}.py").write_text(
        f"import time\nopen({str(reached)!r}, 'w').close()\ntime.sleep(20)\n"
    )
    process = subprocess.Popen(
        [*RELAYD, "run", "--config", "x"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[3]}"},
        cwd=tmp_path,
    )
    until = time.monotonic() + 20
    while not reached.exists() and time.monotonic() < until:
        time.sleep(0.01)
    assert reached.exists()
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert b"Traceback" not in out + err
    assert process.returncode != 0
