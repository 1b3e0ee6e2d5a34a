"""Attacks on the producers' socket: one user's connections never cost others theirs, nor memory.

The attackers are processes of their own, under users of their own: only so does the kernel say who
they are. Each takes `python -c ATTACKER SOCKET KIND CONNECTIONS UID`, and ends with its standard input.
"""

import json
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from faults.injection import needs_root
from faults.producing import Producer, cpu_s, peak_memory, until
from processes import make_spool, running, write_config
from receivers import open_receiver

from relayd.control import CONNECTIONS

MEMORY = 150_000_000

LONGEST_CPU_S = 2.0
"""So much may relayd compute, at most, while a producer waits for an answer; 0.1 to 0.6 s is usual.

How long the wait is, by the clock, depends on what else the machine does; no machine takes 20 s.
"""

ATTACKER = r"""
import os, socket, sys, time
path, kind, count, uid = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
os.setgid(uid)
os.setuid(uid)
size = 1024 * 1024
hostile = b'{"type":"a.b","data":{"x":[' + b'{"1":1},' * ((size - 300) // 9) + b'1]}}\n'
text = {
    "partial": b'{"type":"a.b","data":"' + b"x" * (4 * size - 100),
    "hostile": hostile,
    # One emoji, and Python takes four bytes for each character.
    "emoji": ('{"type":"a.b","data":{"x":"\U0001f600' + "x" * (size - 300) + '"}}\n').encode(),
    "halves": b'{"type":"a.b","data":{"x":"' + rb"\ud83d" * ((size - 300) // 6) + b'"}}\n',
    "lines": b'{"type":"a.b","data":{}}\n' * 100_000,
    "empty": b"\n" * 1_000_000,
    "drip": b"",
    "idle": b"",
}[kind]
os.set_blocking(0, False)
def connected():
    one = socket.socket(socket.AF_UNIX)
    one.connect(path)
    one.setblocking(False)
    return one
left = {connected(): memoryview(text) for _ in range(count)}
os.write(1, b"connected\n")
while True:
    try:
        if not os.read(0, 1):
            break
    except BlockingIOError:
        pass
    moved = False
    for one, rest in list(left.items()):
        try:
            if rest:
                left[one] = rest[one.send(rest[:65536]):]
                moved = True
            elif kind == "drip":
                one.send(b"x")
            if kind != "lines" and not one.recv(65536):
                raise OSError
        except BlockingIOError:
            pass
        except OSError:
            del left[one]
            one.close()
            if kind != "idle":
                left[connected()] = memoryview(text)
    time.sleep(0.001 if moved else 0.2)
"""


@asynccontextmanager
async def attacking(folder: Path, uid: int, kind: str, connections: int) -> AsyncIterator[None]:
    """Attack as a user, with so many connections, until the end of the block."""
    process = await trio.lowlevel.open_process(
        [
            sys.executable,
            "-c",
            ATTACKER,
            "relayd.sock",
            kind,
            str(connections),
            str(uid),
        ],
        stdin=-1,
        stdout=-1,
        # From within it, whatever the folders above let other users do.
        cwd=folder,
    )
    try:
        assert process.stdout is not None
        with trio.fail_after(30):
            assert await process.stdout.receive_some() == b"connected\n"
        yield
    finally:
        process.kill()
        with trio.CancelScope(shield=True):
            await process.wait()


@asynccontextmanager
async def connected(folder: Path) -> AsyncIterator[Producer]:
    """Connect as a producer. It waits while the listener's backlog is full, which trio does not."""
    plain = socket.socket(socket.AF_UNIX)
    await trio.to_thread.run_sync(plain.connect, str(folder / "relayd.sock"))
    async with trio.SocketStream(trio.socket.from_stdlib_socket(plain)) as stream:
        yield Producer(stream)


@dataclass(frozen=True, slots=True)
class Answered:
    """How many events were accepted, and the most CPU time that relayd used before an answer."""

    events: int
    longest_cpu_s: float


async def answered(folder: Path, pid: int, seconds: float) -> Answered:
    """Hand over events for so long, 20 on each connection."""
    longest, number, ends = 0.0, 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        async with connected(folder) as each:
            for _ in range(20):
                began = cpu_s(pid)
                with trio.fail_after(20):
                    answer = await each.hand_over(f"evt_x_{number}")
                assert answer["ok"], answer
                longest = max(longest, cpu_s(pid) - began)
                number += 1
                await trio.sleep(0.005)
    return Answered(number, longest)


@needs_root
@pytest.mark.parametrize(
    "attacks",
    [
        [(2001, "partial", 500)],
        [(2001, "hostile", 40)],
        [(2001, "emoji", 40)],
        [(2001, "halves", 40)],
        [(2001, "lines", 60)],
        [(2001, "empty", 60)],
        [
            (2001, "partial", 200),
            (2002, "partial", 200),
            (2003, "hostile", 40),
            (2004, "lines", 40),
        ],
    ],
    ids=[
        "partial lines",
        "large lines",
        "emoji",
        "halves",
        "never reads",
        "empty lines",
        "several users",
    ],
)
async def test_memory_and_answers_of_others_are_bounded(
    tmp_path: Path, attacks: list[tuple[int, str, int]]
) -> None:
    tmp_path.chmod(0o755)
    make_spool(tmp_path / "spool.db")
    async with open_receiver() as receiver:
        books = {"url": receiver.url, "rate_limit": "10000/s", "events": "order.created"}
        config = write_config(
            tmp_path,
            {"books": books},
            socket={"path": "relayd.sock", "mode": "0666"},
            event_types=["a.b"],
            log={"level": "info", "format": "json"},
        )
        async with running(config) as relayd, trio.open_nursery() as nursery:

            async def attack(uid: int, kind: str, connections: int) -> None:
                async with attacking(tmp_path, uid, kind, connections):
                    await trio.sleep_forever()

            for each in attacks:
                nursery.start_soon(attack, *each)
            await trio.sleep(1.0)
            found = await answered(tmp_path, relayd.pid, 5.0)
            # Deliveries go on meanwhile.
            await until(lambda: len(receiver.requests) >= found.events, timeout_s=60)
            memory = peak_memory(relayd.pid)
            nursery.cancel_scope.cancel()
        assert memory < MEMORY
        assert found.longest_cpu_s < LONGEST_CPU_S
        assert not relayd.events("daemon_internal_error")


@needs_root
async def test_idle_connections_of_one_user_keep_no_other_out(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    make_spool(tmp_path / "spool.db")
    config = write_config(
        tmp_path,
        {"books": {"url": "http://127.0.0.1:9/hook"}},
        socket={"path": "relayd.sock", "mode": "0666"},
    )
    async with (
        running(config) as relayd,
        attacking(tmp_path, 2001, "idle", 500),
        attacking(tmp_path, 2002, "drip", 300),
    ):
        for number in range(3):
            async with connected(tmp_path) as other:
                with trio.fail_after(30):
                    assert (await other.hand_over(f"evt_{number}"))["ok"]
        assert relayd.events("connection_closed")
        assert peak_memory(relayd.pid) < MEMORY


async def test_an_operator_gets_in_when_all_control_connections_are_idle(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1:9/hook"}})
    control = tmp_path / "queue.db.control"
    async with running(config):
        idle = [await trio.open_unix_socket(control) for _ in range(CONNECTIONS)]
        await trio.sleep(1.5)
        async with await trio.open_unix_socket(control) as operator:
            await operator.send_all(b'{"command":"reload"}\n')
            with trio.fail_after(10):
                assert json.loads(await operator.receive_some())["ok"]
        for each in idle:
            await each.aclose()
