"""The web process's way to the daemon: real sockets and threads."""

import asyncio
import json
import socket
import threading
from pathlib import Path

import pytest

from relayd.web.daemon_link import PROBES, REQUESTS, DaemonLink


def test_probes_do_not_wait_behind_what_takes_long(tmp_path: Path) -> None:
    async def run() -> None:
        done = asyncio.Event()
        asked: list[str] = []

        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            name = json.loads(await reader.readline())["command"]
            asked.append(name)
            if name not in PROBES:
                await done.wait()
            writer.write(b'{"ok": true}\n')
            writer.close()

        path = tmp_path / "control"
        async with await asyncio.start_unix_server(answer, path):
            link = DaemonLink(path)
            slow = [
                asyncio.create_task(link.ask({"command": "test"}, timeout_s=60))
                for _ in range(2 * REQUESTS)
            ]
            async with asyncio.timeout(20):
                while len(asked) < REQUESTS:
                    await asyncio.sleep(0.01)
                for name in PROBES:
                    assert await link.ask({"command": name}, timeout_s=10) == {"ok": True}
            assert asked.count("test") == REQUESTS, "the others wait here"
            done.set()
            assert await asyncio.gather(*slow) == [{"ok": True}] * 2 * REQUESTS

    asyncio.run(run())


def test_who_is_cancelled_leaves_no_thread_that_waits(tmp_path: Path) -> None:
    path = tmp_path / "s"
    before = set(threading.enumerate())

    async def test() -> socket.socket:
        loop = asyncio.get_running_loop()
        asking = asyncio.create_task(DaemonLink(path).ask({"command": "reload"}, timeout_s=60.0))
        client, _ = await loop.sock_accept(listener)
        client.setblocking(False)
        assert await loop.sock_recv(client, 1000) == b'{"command": "reload"}\n'
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        return client

    with socket.socket(socket.AF_UNIX) as listener:
        listener.setblocking(False)
        listener.bind(str(path))
        listener.listen()
        client = asyncio.run(test())
        with client:  # the daemon goes on with it, and answers nothing
            left = set(threading.enumerate()) - before
            for each in left:
                each.join(20.0)
            # The end of the process would wait for them.
            assert not [each for each in left if each.is_alive()]
