"""The way to a daemon that does not answer: real sockets and threads."""

import asyncio
import socket
import threading
from pathlib import Path

import pytest

from relayd.web.daemon_link import DaemonLink


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
