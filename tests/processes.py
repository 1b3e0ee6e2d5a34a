"""The real process, started and stopped by tests: `python -m relayd`, with its log as dicts.

config = write_config(tmp_path, {"books": {"url": receiver.url, "events": "order.*"}})
async with running(config) as relayd:
    printed = await command("emit", "order.created", "--sample", config=config)
    await relayd.logged("attempt_succeeded")
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import trio
import yaml

from relayd.core.framing import LineReader, TooLong
from relayd.spool.table import SPOOL_TABLE

SECRET = "a-secret-for-tests-only"

_TESTS = Path(__file__).parent

START_S = 20.0
STOP_S = 15.0
"""The contract: a daemon is gone so soon after SIGTERM."""


def write_config(
    folder: Path,
    subscriptions: Mapping[str, Mapping[str, object]] | None = None,
    *,
    name: str = "config.yaml",
    **other: object,
) -> Path:
    """Write a configuration with a spool, a socket and a queue in `folder`, and return its path.

    Subscriptions get a secret, and take every event unless they say so. `other` replaces keys of
    the file; None leaves one out.
    """
    file: dict[str, object] = {
        "market_id": "market_123",
        "spools": {"market": {"path": "spool.db"}},
        "socket": {"path": "relayd.sock"},
        "queue": {"path": "queue.db"},
        "log": {"level": "debug", "format": "json"},
        "allow_networks": ["127.0.0.0/8"],
        "subscriptions": {
            key: {"events": "*", "secret": SECRET, **value}
            for key, value in (subscriptions or {}).items()
        },
    }
    file |= other
    path = folder / name
    path.write_text(
        yaml.safe_dump(
            {key: value for key, value in file.items() if value is not None}, sort_keys=False
        )
    )
    return path


def make_spool(path: Path, table: str = "relayd_spool") -> Path:
    """Make a spool, as `relayd spool create` does."""
    db = sqlite3.connect(path)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute(SPOOL_TABLE.format(table=table))
    db.close()
    return path


class RelaydProcess:
    """A daemon under test. `lines` holds its log so far, `errors` what it wrote to stderr."""

    def __init__(self, process: trio.Process) -> None:
        self.process = process
        self.lines: list[dict[str, Any]] = []
        self.errors = ""
        self._more = trio.Event()
        self._ended = False

    @property
    def pid(self) -> int:
        return self.process.pid

    async def logged(self, event: str, *, after: int = 0, **fields: object) -> dict[str, Any]:
        """Return the first line with this event and these fields, once it is there.

        Only lines from number `after` on are looked at. Fails when the process ends without it.
        """
        seen = after
        while True:
            for line in self.lines[seen:]:
                if line["event"] == event and fields.items() <= line.items():
                    return line
            seen = max(seen, len(self.lines))
            assert not self._ended, (
                f"relayd ended without {event} {fields}: {self.lines[-5:]} {self.errors}"
            )
            await self._more.wait()

    def events(self, event: str) -> list[dict[str, Any]]:
        """Return the lines so far with this event."""
        return [line for line in self.lines if line["event"] == event]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def wait(self, timeout_s: float = STOP_S) -> int:
        """Return the exit status, once the log has been read to its end."""
        with trio.fail_after(timeout_s):
            status = await self.process.wait()
            while not self._ended:
                await self._more.wait()
        return status

    async def stop(self) -> int:
        """End it by SIGTERM, and return its exit status."""
        self.signal(signal.SIGTERM)
        return await self.wait()

    async def tell_how_it_stands(self, error: Exception) -> None:
        """Add to a test's error whether relayd still runs, and what it said last.

        What a test sees first, a connection that ended say, tells little of the reason.
        """
        with trio.move_on_after(1.0, shield=True):
            await self.process.wait()
        status = self.process.returncode
        state = "still runs" if status is None else f"ended with {status}"
        error.add_note(f"relayd {state}; {self.lines[-5:]} {self.errors}")

    async def read_log(self) -> None:
        assert self.process.stdout is not None
        reader = LineReader(1_000_000)
        async for chunk in self.process.stdout:
            for line in reader.feed(bytes(chunk)):
                assert not isinstance(line, TooLong)
                self.lines.append(json.loads(line))
            self._tell()
        self._ended = True
        self._tell()

    async def read_errors(self) -> None:
        assert self.process.stderr is not None
        async for chunk in self.process.stderr:
            self.errors += chunk.decode(errors="replace")

    def _tell(self) -> None:
        self._more.set()
        self._more = trio.Event()


@asynccontextmanager
async def started(
    config: Path,
    *,
    env: Mapping[str, str] | None = None,
    under: Sequence[str] = (),
    module: str = "relayd",
    pass_fds: Sequence[int] = (),
    what: str = "run",
) -> AsyncIterator[RelaydProcess]:
    """Start a daemon without waiting for anything; at the end it is killed if it still runs.

    `under` is a command that runs it and keeps its process number, such as `prlimit --nofile=40`.
    `module` is run in the place of relayd: a variant that is broken on purpose. `what` is the
    command: `web` for the web process.
    """
    process = await trio.lowlevel.open_process(
        [*under, *_program(what, "--config", str(config), module=module)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=_environment(env),
        cwd=config.parent,
        start_new_session=True,
        pass_fds=pass_fds,
    )
    relayd = RelaydProcess(process)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(relayd.read_log)
        nursery.start_soon(relayd.read_errors)
        try:
            yield relayd
        finally:
            if process.returncode is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
            nursery.cancel_scope.deadline = trio.current_time() + 1.0


@asynccontextmanager
async def running(
    config: Path,
    *,
    env: Mapping[str, str] | None = None,
    under: Sequence[str] = (),
    module: str = "relayd",
    pass_fds: Sequence[int] = (),
) -> AsyncIterator[RelaydProcess]:
    """Run a daemon that has started; at the end it must stop well, unless it has ended before."""
    async with started(config, env=env, under=under, module=module, pass_fds=pass_fds) as relayd:
        with trio.fail_after(START_S):
            await relayd.logged("started")
        try:
            yield relayd
        except Exception as error:
            await relayd.tell_how_it_stands(error)
            raise
        if relayd.process.returncode is None:
            assert await relayd.stop() == 0, relayd.errors


@asynccontextmanager
async def web_running(config: Path) -> AsyncIterator[RelaydProcess]:
    """Run the web process of a daemon that runs; at the end it must stop well."""
    async with started(config, what="web") as web:
        with trio.fail_after(START_S):
            await web.logged("web_started")
        yield web
        if web.process.returncode is None:
            assert await web.stop() == 0, web.errors


async def command(
    *arguments: str,
    config: Path | None = None,
    stdin: str | bytes = b"",
    env: Mapping[str, str] | None = None,
    status: int = 0,
) -> str:
    """Run a command, check its exit status, and return what it printed (with 0: to stdout)."""
    completed = await run_command(*arguments, config=config, stdin=stdin, env=env)
    out, err = completed.stdout.decode(), completed.stderr.decode()
    assert completed.returncode == status, (completed.returncode, out, err)
    return out if status == 0 else out + err


async def run_command(
    *arguments: str,
    config: Path | None = None,
    stdin: str | bytes = b"",
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> "subprocess.CompletedProcess[bytes]":
    """Run a command, and return all that came of it."""
    more = () if config is None else ("--config", str(config))
    with trio.fail_after(60):
        return await trio.run_process(
            _program(*arguments, *more),
            stdin=stdin.encode() if isinstance(stdin, str) else stdin,
            capture_stdout=True,
            capture_stderr=True,
            check=False,
            env=_environment(env),
            cwd=cwd,
        )


def _program(*arguments: str, module: str = "relayd") -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _environment(more: Mapping[str, str] | None) -> dict[str, str]:
    inherited = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith("RELAYD_") and key != "NOTIFY_SOCKET"
    }
    settings = {
        "COLUMNS": "80",
        "NO_COLOR": "1",
        "TZ": "UTC",
        # Of the tree in which the test stands, with the variants that are broken on purpose.
        "PYTHONPATH": f"{_TESTS}:{_TESTS.parent}",
    }
    return {**inherited, **settings, **(more or {})}
