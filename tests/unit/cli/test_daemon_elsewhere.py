"""Anybody may listen at a socket of any name: that ends no command, holds none up, and is not believed."""

import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import people
import pytest

from relayd.cli import daemon_elsewhere as module
from relayd.cli.daemon_elsewhere import daemon_elsewhere
from relayd.config.sections import QueueConfig

Talk = Callable[[socket.socket], object]


@contextmanager
def listening(path: Path, talk: Talk) -> Iterator[None]:
    """Listen at a path, and talk to each that connects and asks."""

    def serve() -> None:
        while True:
            try:
                connected, _ = listener.accept()
            except OSError:
                return
            with connected:
                try:
                    if connected.recv(65_536):
                        talk(connected)
                except OSError:
                    pass  # the command has hung up

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(10)


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: that of a socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="rd", dir="/tmp") as name:
        yield Path(name)


@pytest.fixture
def file(folder: Path) -> Iterator[Path]:
    """A configuration's file, as that of the command that runs."""
    file = folder / "config.yaml"
    file.touch()
    with click.Context(click.Command("status")) as context:
        context.params["config_path"] = file
        yield file


def asked(file: Path) -> str | None:
    return daemon_elsewhere(QueueConfig(file.with_name("moved.db"), 86_400.0))


def answers(**answer: object) -> Talk:
    line = json.dumps({"ok": True} | answer).encode() + b"\n"
    return lambda connected: connected.sendall(line)


@pytest.mark.parametrize(
    "name",
    [
        "a\nb.control",
        "a\n0: 2 0 flags 1 1 9 /b.control",
        "\n \n0 0 0\n.control",
        "a\x0b0: 2 0 zz 1 1 9 \u2028.control",
        "a\n0000: 00000002 00000000 00010000 0001 01 99 /nowhere/q.db.control",
    ],
)
def test_no_name_of_a_socket_ends_a_command(file: Path, folder: Path, name: str) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    with listening(folder / name, answers()):
        assert asked(file) is None
        with listening(folder / "q.db.control", answers(config=str(file), pid=7)):
            assert "relayd (pid 7) is running with this file" in (asked(file) or "")


def test_the_queue_is_shown_as_a_terminal_may_show_it(file: Path, folder: Path) -> None:
    with listening(folder / "\x1b[2Jq.db.control", answers(config=str(file), pid=7)):
        assert f"{folder}/\\x1b[2Jq.db:" in (asked(file) or "")


@pytest.mark.parametrize(
    "line",
    [
        b"[]\n",
        b"7\n",
        b"nonsense\n",
        b"\xff\n",
        b"[" * 100_000 + b"\n",
        b'{"ok": true, "config": "FILE", "pid": "7\\u001b[2J"}\n',
        b'{"ok": true, "config": "FILE", "pid": true}\n',
        b'{"ok": true, "config": "FILE"}\n',
        b'{"ok": true, "config": ["FILE"], "pid": 7}\n',
        b'{"ok": false}\n',
        b"",
        b'{"ok": true',
    ],
)
def test_what_does_not_answer_as_relayd_does_is_not_it(
    file: Path, folder: Path, line: bytes
) -> None:
    answer = line.replace(b"FILE", str(file).encode())
    with listening(folder / "q.db.control", lambda connected: connected.sendall(answer)):
        assert asked(file) is None


def test_an_answer_that_never_ends_is_not_waited_for(
    file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ANSWER_S", 0.3)
    monkeypatch.setattr(module, "_TOGETHER_S", 0.5)

    def trickle(connected: socket.socket) -> None:
        for _ in range(200):
            connected.sendall(b" ")
            time.sleep(0.05)

    began = time.monotonic()
    with ExitStack() as stack:
        for number in range(8):
            stack.enter_context(listening(folder / f"{number}.control", trickle))
        assert asked(file) is None
        took_s = time.monotonic() - began
    assert took_s < 5.0  # of 10 s each


def test_an_answer_without_end_is_not_kept(
    file: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_ANSWER_BYTES", 100_000)
    sent = 0

    def flood(connected: socket.socket) -> None:
        nonlocal sent
        while sent < 10_000_000:
            sent += connected.send(b" " * 10_000)

    with listening(folder / "q.db.control", flood):
        assert asked(file) is None
    assert sent < 1_000_000  # what the kernel buffers on the way


def test_a_full_backlog_is_not_waited_for(file: Path, folder: Path) -> None:
    with ExitStack() as stack:
        for number in range(20):
            full = stack.enter_context(socket.socket(socket.AF_UNIX))
            full.bind(str(folder / f"{number}.control"))
            full.listen(0)
            for _ in range(3):
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                try:
                    waiting.connect(full.getsockname())
                except BlockingIOError:
                    break
            else:
                raise AssertionError("the backlog is not full")
        stack.enter_context(listening(folder / "q.db.control", answers(config=str(file), pid=7)))
        began = time.monotonic()
        assert "pid 7" in (asked(file) or "")
        assert time.monotonic() - began < module._ANSWER_S


LISTENS = """
import json, socket, sys
folder, file, count = sys.argv[1:]
listeners = []
for number in range(int(count)):
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(f"{folder}/{number}.control")
    listener.listen()
    listeners.append(listener)
print("listening", flush=True)
while True:
    connected, _ = listeners[0].accept()
    connected.sendall(json.dumps({"ok": True, "config": file, "pid": 6}).encode() + b"\\n")
"""


@people.NEEDED
def test_strangers_are_not_believed_however_many_they_are(file: Path, folder: Path) -> None:
    with people.made_people() as found:
        theirs = folder / "theirs"
        theirs.mkdir()
        people.give(theirs, found.stranger, 0o755)
        folder.chmod(0o755)
        script = [sys.executable, "-c", LISTENS, str(theirs), str(file), "40"]
        with subprocess.Popen(
            [*found.stranger.under, *script], stdout=subprocess.PIPE, cwd="/"
        ) as process:
            try:
                assert process.stdout is not None
                assert process.stdout.readline()
                # Whose the file is says nothing: they may put another one there at any moment.
                os.chown(theirs / "0.control", 0, 0)
                assert asked(file) is None
                with listening(folder / "q.db.control", answers(config=str(file), pid=7)):
                    assert "pid 7" in (asked(file) or "")
            finally:
                process.kill()
