"""A producer for tests of faults, and what the queue knows of events when relayd has ended."""

import json
import os
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import trio

from relayd.core.framing import LineReader


class Producer:
    """One connection to the producers' socket."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self._stream = stream
        self._lines = LineReader(1_000_000)

    async def hand_over(self, event_id: str, **data: object) -> dict[str, Any]:
        """Hand over an event, and return relayd's answer. Raises `EOFError` when there is none."""
        await self.send(event_id, **data)
        return await self.answer()

    async def send(self, event_id: str, **data: object) -> None:
        event = {"id": event_id, "type": "order.created", "data": {"object": {"id": 1}, **data}}
        try:
            await self._stream.send_all(json.dumps(event).encode() + b"\n")
        except trio.BrokenResourceError:
            raise EOFError from None

    async def hand_over_until_it_ends(self, count: int, size: int = 10) -> set[str]:
        """Hand over events until relayd ends; return those that were accepted. Fails if it does not."""
        accepted: set[str] = set()
        try:
            for number in range(count):
                event_id = f"evt_until_{number}"
                if (await self.hand_over(event_id, filler="x" * size))["ok"]:
                    accepted.add(event_id)
        except EOFError:
            return accepted
        raise AssertionError(f"relayd bore {count} events")

    async def answer(self) -> dict[str, Any]:
        while True:
            try:
                data = await self._stream.receive_some()
            except trio.BrokenResourceError:
                raise EOFError from None
            if not data:
                raise EOFError
            for line in self._lines.feed(data):
                assert isinstance(line, bytes)
                answer: dict[str, Any] = json.loads(line)
                return answer


@asynccontextmanager
async def producer(folder: Path) -> AsyncIterator[Producer]:
    """Connect to the socket in a folder of `write_config`."""
    async with await trio.open_unix_socket(folder / "relayd.sock") as stream:
        yield Producer(stream)


def insert(spool: Path, event_id: str) -> None:
    """Insert an event into a spool, as a producer does."""
    with closing(sqlite3.connect(spool, isolation_level=None, timeout=10)) as db:
        db.execute(
            "INSERT INTO relayd_spool (id, type, data) VALUES (?, 'order.created', ?)",
            (event_id, '{"object":{"id":1}}'),
        )


def states(queue: Path) -> dict[str, str]:
    """Return the state of each event's one delivery, by the event's id."""
    with closing(sqlite3.connect(f"file:{queue}?mode=ro", uri=True, timeout=10)) as db:
        return dict(
            db.execute(
                "SELECT e.id, d.state FROM deliveries d JOIN events e ON e.seq = d.event_seq"
            )
        )


def integrity(queue: Path) -> str:
    """Return `ok` for a queue that is sound."""
    with closing(sqlite3.connect(queue, timeout=10)) as db:
        try:
            return str(db.execute("PRAGMA integrity_check").fetchone()[0])
        except sqlite3.DatabaseError as error:
            return str(error)


def all_delivered(queue: Path) -> bool:
    """Return whether nothing in the queue waits any more."""
    return set(states(queue).values()) <= {"delivered"}


async def until(condition: Any, timeout_s: float = 30.0, every_s: float = 0.02) -> None:
    """Wait until `condition()` is true."""
    with trio.fail_after(timeout_s):
        while not condition():
            await trio.sleep(every_s)


def cpu_s(pid: int) -> float:
    """Return the processor time that a process has taken so far, all of its threads together."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peak_memory(pid: int) -> int:
    """Return the most memory that a process has had, in bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) * 1024
