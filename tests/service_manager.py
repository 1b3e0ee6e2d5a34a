"""What systemd is to a service: it hears what the service tells, and passes it sockets."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio


class ServiceManager:
    """Listens at `address`, which goes into NOTIFY_SOCKET. `told` holds the messages so far."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.told: list[dict[str, str]] = []
        self._more = trio.Event()

    async def hears(self, key: str, value: str = "1", *, after: int = 0) -> int:
        """Wait for a message with this line; return how many messages came until then."""
        seen = after
        while True:
            for number, message in enumerate(self.told[seen:], seen + 1):
                if message.get(key) == value:
                    return number
            seen = max(seen, len(self.told))
            await self._more.wait()

    async def listen(self, listener: trio.socket.SocketType) -> None:
        while True:
            data = await listener.recv(65_536)
            lines = (line.partition("=") for line in data.decode().splitlines())
            self.told.append({key: value for key, _, value in lines})
            self._more.set()
            self._more = trio.Event()


@asynccontextmanager
async def service_manager(folder: Path) -> AsyncIterator[ServiceManager]:
    """Hear what a service tells."""
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        address = str(folder / "notify")
        await listener.bind(address)
        manager = ServiceManager(address)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(manager.listen, listener)
            yield manager
            nursery.cancel_scope.cancel()


def listening(path: Path) -> socket.socket:
    """Return a socket that listens at `path`, as a socket unit's does."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(128)
    return listener


_PASS = """
import os, sys
given, *program = sys.argv[1:]
for target, descriptor in enumerate(map(int, given.split(",")), 3):
    os.dup2(descriptor, target)
    os.close(descriptor)
count = given.count(",") + 1
os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS=str(count))
os.execvp(program[0], program)
"""


def passing(*sockets: socket.socket) -> tuple[str, ...]:
    """Return the beginning of a command that passes sockets to the program that follows.

    The caller starts it with `pass_fds`.
    """
    # Beyond those that it is to have, so that none is overwritten.
    assert all(one.fileno() > 2 + len(sockets) for one in sockets)
    return (sys.executable, "-c", _PASS, ",".join(str(one.fileno()) for one in sockets))


def environment(manager: ServiceManager, **more: str) -> dict[str, str]:
    """Return what systemd sets for a service that it listens to."""
    return {"NOTIFY_SOCKET": manager.address, **more}
