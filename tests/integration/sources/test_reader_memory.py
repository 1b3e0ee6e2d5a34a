"""What a reader keeps in memory while the daemon takes its time."""

import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import trio
from faults.producing import until

from relayd.core.event import EventDefaults
from relayd.spool.exit_status import PAGE_BYTES
from relayd.spool.frames import HEAD, Head, Kind, frame, head_of
from relayd.spool.text_frames import Settings, settings_text

READER = """
import socket, sys
from relayd.spool.reader_main import read_spool
sys.exit(read_spool(socket.socket(fileno=int(sys.argv[1])), int(sys.argv[2])))
"""
ROW_BYTES = 8_000_000


@contextmanager
def reader_of(spool: Path) -> Iterator[tuple[int, socket.socket]]:
    """Start a reader that no daemon answers; yield its process's number and the daemon's end."""
    ours, theirs = socket.socketpair()
    page = os.memfd_create("page")
    os.ftruncate(page, PAGE_BYTES)
    settings = Settings(str(spool), str(spool), "relayd_spool", EventDefaults("market", "1"))
    with ours:
        with theirs:
            process = subprocess.Popen(
                [sys.executable, "-c", READER, str(theirs.fileno()), str(page)],
                pass_fds=[theirs.fileno(), page],
            )
        os.close(page)
        try:
            ours.sendall(frame(Kind.SETTINGS, 0, settings_text(settings)))
            yield process.pid, ours
        finally:
            process.kill()
            process.wait()


def next_frame(channel: socket.socket) -> Head:
    head = head_of(exactly(channel, HEAD.size), list(Kind))
    exactly(channel, head.size)
    return head


def exactly(channel: socket.socket, size: int) -> bytes:
    return channel.recv(size, socket.MSG_WAITALL) if size else b""


def own_bytes(pid: int) -> int:
    """Return the memory that a process shares with no other."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Private_"))


async def test_rows_that_were_handed_over_as_no_events_are_not_kept(tmp_path: Path) -> None:
    spool = tmp_path / "spool.db"
    with closing(sqlite3.connect(spool, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        db.execute(
            "CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY AUTOINCREMENT, id, type, data,"
            " created, market_id, api_version)"
        )
        with reader_of(spool) as (pid, channel), trio.fail_after(60):
            assert next_frame(channel).kind == Kind.STATE
            before = own_bytes(pid)
            db.execute("BEGIN")
            for number in range(8):
                db.execute(
                    "INSERT INTO relayd_spool (id, type, data, created)"
                    " VALUES (?, 'order.created', '{}', randomblob(?))",
                    (f"evt_{number}", ROW_BYTES),
                )
            db.execute("COMMIT")
            rejected = 0
            while rejected < 6:
                head = await trio.to_thread.run_sync(next_frame, channel)
                rejected += head.kind == Kind.REJECTED
            # It hands over no more before one of these is answered.
            await until(lambda: own_bytes(pid) - before < ROW_BYTES)
