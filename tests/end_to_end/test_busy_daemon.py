"""A daemon that has too much to do, or refuses for any other reason, is reported in words."""

import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio
from processes import RelaydProcess, command, run_command, running, write_config

BOOKS = {"books": {"url": "http://127.0.0.1:9/", "retry": ["1h"]}}


@asynccontextmanager
async def refusing(config: Path) -> AsyncIterator[None]:
    """Answer each line on the control socket as a daemon that refuses it."""
    answer = {"ok": False, "code": "busy", "error": "there is too much to do"}

    async def refuse(stream: trio.SocketStream) -> None:
        async for _ in stream:
            await stream.send_all(json.dumps(answer).encode() + b"\n")

    place = trio.socket.socket(socket.AF_UNIX)
    path = config.parent / "queue.db.control"
    path.unlink(missing_ok=True)
    await place.bind(str(path))
    place.listen()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.serve_listeners, refuse, [trio.SocketListener(place)])
        yield
        nursery.cancel_scope.cancel()


COMMANDS = [
    "reload",
    "pause books",
    "resume books",
    "check --diff",
    "rename books shop",
    "test books",
    "cancel books --yes",
]


async def test_each_command_says_why(tmp_path: Path) -> None:
    config = write_config(tmp_path, BOOKS, spools=None)
    async with running(config):
        await command("emit", "order.created", "--sample", config=config)
    async with refusing(config):
        for words in COMMANDS:
            done = await run_command(*words.split(), config=config)
            said = (done.stdout + done.stderr).decode()
            assert done.returncode == 1, (words, said)
            assert "Traceback" not in said
            assert "there is too much to do" in said, (words, said)
        refused = json.loads(await only_output("reload", "--json", config=config, status=1))
        assert refused["code"] == "busy"
        status = json.loads(await command("status", "--json", config=config))
        assert (status["running"], status["daemon"]) == (True, None)
        assert "relayd does not answer" in await command("status", config=config)
        listed = json.loads(await command("deliveries", "--json", config=config))
        assert len(listed["deliveries"]) == 1


async def only_output(*words: str, config: Path, status: int) -> bytes:
    done = await run_command(*words, config=config)
    assert done.returncode == status
    return done.stdout


async def test_forty_reloads_that_wait_lock_nobody_out(tmp_path: Path) -> None:
    config = write_config(tmp_path, BOOKS, spools=None)
    async with running(config) as daemon, trio.open_nursery() as nursery:
        answers: list[dict[str, object]] = []
        nursery.start_soon(ask, config, answers)
        child = await reader_of_the_file(daemon)
        os.kill(child, signal.SIGSTOP)
        for _ in range(39):
            nursery.start_soon(ask, config, answers)
        with trio.fail_after(20):
            while len(answers) < 16:
                await trio.sleep(0.02)
        assert {each.get("code") for each in answers} == {"busy"}
        status = json.loads(await command("status", "--json", config=config))
        assert status["daemon"]["pid"] == daemon.pid
        assert "is paused" in await command("pause", "books", config=config)
        os.kill(child, signal.SIGCONT)
        with trio.fail_after(30):
            while len(answers) < 40:
                await trio.sleep(0.02)
        assert [each["ok"] for each in answers].count(True) == 24
        assert len(daemon.events("configuration_reloaded")) <= 2


async def ask(config: Path, answers: list[dict[str, object]]) -> None:
    async with await trio.open_unix_socket(config.parent / "queue.db.control") as stream:
        await stream.send_all(b'{"command":"reload"}\n')
        line = b""
        while not line.endswith(b"\n"):
            line += await stream.receive_some()
        answers.append(json.loads(line))


async def reader_of_the_file(daemon: RelaydProcess) -> int:
    with trio.fail_after(10):
        while True:
            children = Path(f"/proc/{daemon.pid}/task/{daemon.pid}/children").read_text().split()
            for child in children:
                if b"config_process" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
            await trio.sleep(0.002)
