"""`demo` shows what happens, fails when something does not, and leaves nothing; the first steps."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
from processes import run_command, running

PATCHED = """\
import sys
import relayd.cli.demo.demonstration as demo
from relayd.cli import main
{patch}
sys.argv = ["relayd", "demo"]
main()
"""

# Once the daemon runs, however long that takes here.
HURRY = """
demo.Demonstration._insert_slowly = demo.Demonstration._insert
def hurry(self, path):
    demo.LONGEST_S = 3.0
    return self._insert_slowly(path)
demo.Demonstration._insert = hurry
"""


def environment(folder: Path) -> dict[str, str]:
    kept = {key: value for key, value in os.environ.items() if not key.startswith("RELAYD_")}
    return {**kept, "TMPDIR": str(folder), "NO_COLOR": "1", "COLUMNS": "80"}


@pytest.fixture
def folder() -> Iterator[Path]:
    # Not tmp_path, whose name is too long for a socket in it.
    with tempfile.TemporaryDirectory(prefix="rd-") as name:
        yield Path(name)


async def run_patched(patch: str, folder: Path) -> "subprocess.CompletedProcess[bytes]":
    with trio.fail_after(60):
        return await trio.run_process(
            [sys.executable, "-c", PATCHED.format(patch=patch)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(folder),
        )


async def test_it_shows_the_whole_path(folder: Path) -> None:
    with trio.fail_after(60):
        completed = await trio.run_process(
            [sys.executable, "-m", "relayd", "demo"],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=environment(folder),
        )
    printed = completed.stdout.decode()
    assert completed.returncode == 0, (printed, completed.stderr.decode())
    assert completed.stderr == b""
    for words in (
        "INSERT INTO relayd_spool",
        "answered 500",
        '{"ok":true,"id":"evt_',
        "X-LocallyGrown-Attempt: 2",
        "All 3 signatures are valid",
        "delivered, attempts: 2",
        "delivered, attempts: 1",
        "All of it happened",
    ):
        assert words in printed, printed
    steps = [line[:2].strip() for line in printed.splitlines() if line[2:4] == ". "]
    assert steps == [str(number) for number in range(1, 11)]
    assert max(map(len, printed.splitlines())) <= 80
    assert "\x1b" not in printed
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize(
    ("patch", "words"),
    [
        # The receiver knows another secret than relayd.
        ("demo._CONFIG = demo._CONFIG.replace('{secret}', 'another-{secret}')", "is invalid"),
        # No retry is made.
        (
            "demo._CONFIG = demo._CONFIG.replace('[1s, 1s, 1s]', '[]')" + HURRY,
            "did not happen within 3 s",
        ),
        # relayd does not even start.
        ("demo._CONFIG = demo._CONFIG.replace('queue:', 'quue:')", "ended with status 78"),
        ("demo._FROM_SOCKET = '[]'", "relayd refused the event"),
        # Nothing is delivered, though all of it could be.
        (
            "demo._CONFIG = demo._CONFIG.replace('order.*', 'user.*')" + HURRY,
            "step 5 did not happen within 3 s",
        ),
    ],
)
async def test_it_fails_when_a_step_does_not_happen(folder: Path, patch: str, words: str) -> None:
    completed = await run_patched(patch, folder)
    printed = completed.stderr.decode()
    assert completed.returncode == 1, (completed.stdout.decode(), printed)
    assert "relayd: the demo failed: " in printed
    assert words in printed
    assert "The daemon's log:" in printed
    assert "Traceback" not in printed
    assert b"All of it happened" not in completed.stdout
    assert list(folder.iterdir()) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_can_be_stopped_and_leaves_no_daemon(folder: Path, number: signal.Signals) -> None:
    process = await trio.lowlevel.open_process(
        [sys.executable, "-c", PATCHED.format(patch="demo._FROM_SPOOL = '{}'")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**environment(folder), "PYTHONUNBUFFERED": "1"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    printed = b""
    with trio.fail_after(60):
        while b"is process " not in printed or b"answered 500" not in printed:
            printed += await process.stdout.receive_some()
        daemon = int(printed.partition(b"is process ")[2].partition(b".")[0])
        os.kill(daemon, 0)  # it runs
        process.send_signal(number)
        assert await process.wait() == 1
        assert b"Stopped" in await process.stderr.receive_some()
    with pytest.raises(ProcessLookupError):
        os.kill(daemon, 0)
    assert list(folder.iterdir()) == []


async def test_the_first_steps_as_init_prints_them(folder: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    assert (await run_command("init", cwd=folder)).returncode == 0
    config = folder / "config.yaml"
    config.write_text(config.read_text().replace("127.0.0.1:8080", f"127.0.0.1:{port}"))
    assert (await run_command("check", cwd=folder)).returncode == 0
    listen = await trio.lowlevel.open_process(
        [
            *(sys.executable, "-m", "relayd", "listen", "--subscription", "first"),
            *("--count", "1", "--config", str(config)),
        ],
        stdout=subprocess.PIPE,
        env=environment(folder),
    )
    assert listen.stdout is not None
    printed = b""
    with trio.fail_after(60):
        while b"Listening" not in printed:
            printed += await listen.stdout.receive_some()
        async with running(config):
            emitted = await run_command("emit", "order.created", "--sample", cwd=folder)
            async for chunk in listen.stdout:
                printed += chunk
            assert await listen.wait() == 0
    shown = printed.decode()
    assert emitted.stdout.decode().strip() in shown
    assert "order.created, attempt 1  ->  200" in shown
    assert "signature valid: raw body, and re-stringified body" in shown
    assert max(map(len, shown.splitlines())) <= 80
