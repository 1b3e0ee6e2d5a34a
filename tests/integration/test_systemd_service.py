"""What systemd is told and passes, over real sockets."""

import os
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import trio
from service_manager import listening, passing, service_manager

from relayd.systemd import Service
from relayd.unix_socket.listener import passed_listener

PID = str(os.getpid())


async def test_what_it_is_told(tmp_path: Path) -> None:
    async with service_manager(tmp_path) as manager:
        service = Service({"NOTIFY_SOCKET": manager.address})
        service.ready("2 subscriptions")
        service.reloading()
        service.alive()
        service.stopping("finishing")
        with trio.fail_after(5):
            await manager.hears("STOPPING")
    ready, reloading, alive, stopping = manager.told
    assert ready == {"READY": "1", "STATUS": "2 subscriptions"}
    assert reloading.keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert alive == {"WATCHDOG": "1"}
    assert stopping == {"STOPPING": "1", "STATUS": "finishing"}


async def test_nothing_says_ready_after_stopping(tmp_path: Path) -> None:
    async with service_manager(tmp_path) as manager:
        service = Service({"NOTIFY_SOCKET": manager.address})
        service.stopping("finishing")
        service.reloading()
        service.ready("3 subscriptions")
        service.alive()
        with trio.fail_after(5):
            await manager.hears("WATCHDOG")
    assert [next(iter(message)) for message in manager.told] == ["STOPPING", "WATCHDOG"]


async def test_an_abstract_address() -> None:
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        await listener.bind(f"\0relayd-test-{PID}")
        Service({"NOTIFY_SOCKET": f"@relayd-test-{PID}"}).alive()
        with trio.fail_after(5):
            assert await listener.recv(100) == b"WATCHDOG=1"


def test_without_a_service_manager_and_with_one_that_is_gone(tmp_path: Path) -> None:
    for environ in ({}, {"NOTIFY_SOCKET": str(tmp_path / "gone")}):
        service = Service(environ)
        service.ready("")
        service.alive()
        assert service.watchdog_s is None
        assert service.passed == ()


def test_a_service_manager_that_reads_nothing_is_not_waited_for(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.setblocking(False)
            with suppress(BlockingIOError):
                while True:
                    sender.sendto(b"x", address)
        Service({"NOTIFY_SOCKET": address}).alive()


@pytest.mark.parametrize(
    ("environ", "expected"),
    [
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": PID}, 120.0),
        ({"WATCHDOG_USEC": "500000"}, 0.5),
        ({"WATCHDOG_USEC": "120000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "often"}, None),
        ({"WATCHDOG_PID": PID}, None),
    ],
)
def test_how_often_the_watchdog_is_to_be_fed(
    environ: dict[str, str], expected: float | None
) -> None:
    assert Service(environ).watchdog_s == expected


_CHILD = """
from relayd.systemd import Service
for one in Service().passed:
    print(one.getsockname(), one.fileno(), one.get_inheritable())
"""


def child(*sockets: socket.socket, **environ: str) -> list[str]:
    """Return what a process says of the sockets that it was passed."""
    changes = [f"{key}={value}" for key, value in environ.items()]
    said = subprocess.run(
        [*passing(*sockets), "env", *changes, sys.executable, "-c", _CHILD],
        pass_fds=[one.fileno() for one in sockets],
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert said.stderr == ""
    return said.stdout.splitlines()


def test_what_is_passed(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with (
        listening(path) as good,
        socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as not_listening,
        socket.create_server(("127.0.0.1", 0)) as internet,
        listening(tmp_path / "t") as another,
    ):
        # What is of no use is left out, wherever it stands.
        assert child(not_listening, good, internet, another) == [
            f"{path} 4 False",
            f"{tmp_path / 't'} 6 False",
        ]
        assert child(good, LISTEN_PID="1") == []
        assert child(good, LISTEN_FDS="many") == []
        # Fewer than promised: what is no socket is passed over.
        assert child(good, LISTEN_FDS="40") == [f"{path} 3 False"]


async def test_a_passed_socket_outlives_its_listener(tmp_path: Path) -> None:
    real = tmp_path / "real"
    real.mkdir()
    (tmp_path / "link").symlink_to(real)
    with listening(real / "s") as passed:
        assert passed_listener(real / "other", [passed]) is None
        # As /var/run leads to /run.
        listener = passed_listener(tmp_path / "link" / "s", [passed])
        assert listener is not None
        await listener.aclose()
        client = await trio.open_unix_socket(real / "s")
        again = passed_listener(real / "s", [passed])
        assert again is not None
        with trio.fail_after(5):
            server = await again.accept()
            await client.send_all(b"x")
            assert await server.receive_some() == b"x"
        for each in (client, server, again):
            await each.aclose()
