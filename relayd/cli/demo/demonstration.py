"""One demonstration: a program's events, the real daemon, and a receiver that fails once.

Nothing in it is pretended: each step is told once it has happened, and the end checks all of them.
"""

import json
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import click
import trio

from relayd.cli.demo.receiver import Arrival, FailingOnce
from relayd.cli.dev_receiver.receiver import Receiver
from relayd.cli.secret_options import Key
from relayd.cli.spool_files import create_spool
from relayd.cli.terminal import printable
from relayd.core.secret import Secret
from relayd.core.signature import ATTEMPT, DELIVERY, SIGNATURE
from relayd.spool.insertion import insert_one

LONGEST_S: Final = 30.0
"""A step takes 1.1 s at most; on a slow machine it may take so long before it counts as failed."""

_STOP_S: Final = 12.0
_COLUMNS: Final = 80
LOG: Final = "relayd.log"
"""The daemon's log, in the folder."""

# As a program in any language may write it: with spaces, escapes and 42.50, none of which
# JSON.stringify prints.
_FROM_SPOOL: Final = '{"object": {"id": "order_456", "total": 42.50, "note": "cr\\u00eapes"}}'
_FROM_SOCKET: Final = '{"type": "order.created", "data": {"object": {"id": "order_457"}}}'

_CONFIG: Final = """\
market_id: market_123
spools: {{market: {{path: spool.db}}}}
socket: {{path: relayd.sock}}
queue: {{path: queue.db}}
log: {{format: json}}
allow_networks: [127.0.0.0/8]
subscriptions:
  bookkeeping:
    url: {url}/webhooks
    events: [order.*]
    retry: [1s, 1s, 1s]
    rate_limit: 100/s
    secret: {secret}
"""


class DemoFailedError(Exception):
    """A step did not happen as it should; says which."""


class Demonstration:
    """One run. `folder` is empty, and keeps all that it needs, the daemon's log too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._config = folder / "config.yaml"
        self._key = Key(Secret(secrets.token_hex(16)))
        self._steps = 0
        self._desk = FailingOnce(self._key)
        self._next_step = trio.CancelScope()

    async def run(self) -> None:
        """Show it all. Raises `DemoFailedError`."""
        began = trio.current_time()
        click.echo(click.style("An order's way from a program to a webhook, for real", bold=True))
        listeners = await trio.open_tcp_listeners(0, host="127.0.0.1")
        url = f"http://127.0.0.1:{listeners[0].socket.getsockname()[1]}"
        try:
            with trio.fail_after(LONGEST_S) as self._next_step:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._obey)
                    desk = Receiver(self._desk.respond, self._desk.answered)
                    nursery.start_soon(desk.serve, listeners)
                    await self._show(url)
                    nursery.cancel_scope.cancel()
        except* trio.TooSlowError:
            raise DemoFailedError(
                f"step {self._steps + 1} did not happen within {LONGEST_S:g} s"
            ) from None
        click.echo()
        good = click.style("All of it happened", fg="green", bold=True)
        click.echo(f"{good}: 2 events, 3 attempts, in {trio.current_time() - began:.1f} s.")
        click.echo("Next: `relayd init` in an empty folder, for a configuration of your own.")

    async def _obey(self) -> None:
        # Ctrl-C comes as KeyboardInterrupt; what else ends a process must not leave one behind.
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGHUP) as signals:
            async for _ in signals:
                raise KeyboardInterrupt

    async def _show(self, url: str) -> None:
        secret = self._key.secret.reveal()
        self._config.write_text(_CONFIG.format(url=url, secret=secret))
        spool = self._folder / "spool.db"
        create_spool(spool, "relayd_spool", 0o600)
        self._step(
            "A folder with a configuration and a spool, an SQLite table for events:",
            str(self._folder),
        )
        self._step(f"A receiver at {url}. It fails the first request.")
        async with self._daemon() as process:
            self._step(f"The daemon, `relayd run`, is process {process.pid}.")
            first_id, inserted_at = self._insert(spool)
            failed = await self._desk.arrival(first_id, 500)
            self._step(
                f"It arrived {_ms(failed.at - inserted_at)} later: {_bad('answered 500')}. "
                "relayd will try again,",
                "in 1 s here; by default after 2m, 10m, 45m, 4h and 19h.",
            )
            second_id, written_at = await self._write_line()
            second = await self._desk.arrival(second_id, 200)
            self._step(
                f"That one arrived {_ms(second.at - written_at)} later: {_good('answered 200')}. "
                "A retry holds up nobody."
            )
            retried = await self._desk.arrival(first_id, 200)
            self._step(
                f"The retry of the first came after {retried.at - failed.at:.2f} s: "
                f"{_good('answered 200')}. Its headers:",
                f"{ATTEMPT}: {retried.attempt}",
                f"{DELIVERY}: {retried.came.request.header(DELIVERY)}",
                f"{SIGNATURE}: {(retried.came.request.header(SIGNATURE) or '')[:23]}…",
            )
            await self._stop(process)
        self._check_arrivals(failed, retried, second)
        self._step(
            f"All 3 signatures are {_good('valid')}, in both ways in which receivers verify:",
            "over the raw body, and over JSON.stringify(JSON.parse(body)). The body is",
            "what JavaScript would print, whatever the program wrote, and the same",
            "bytes in each attempt:",
            *_folded(retried.came.request.body.decode()),
        )
        states = await self._deliveries()
        self._step(
            "The daemon was stopped. It is all on disk, as `relayd deliveries` says:", *states
        )

    def _step(self, text: str, *more: str) -> None:
        self._steps += 1
        self._next_step.deadline = trio.current_time() + LONGEST_S
        number = click.style(f"{self._steps:>2}.", fg="cyan", bold=True)
        click.echo(f"{number} {text}")
        for line in more:
            click.echo(click.style(f"      {line}", dim=True))

    @asynccontextmanager
    async def _daemon(self) -> AsyncIterator[trio.Process]:
        """Run the daemon, ready for producers; it is gone at the end, whatever happens."""
        with (self._folder / LOG).open("wb") as log:
            process = await trio.lowlevel.open_process(
                [sys.executable, "-m", "relayd", "run", "--config", str(self._config)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={key: value for key, value in os.environ.items() if key != "NOTIFY_SOCKET"},
                # So that Ctrl-C comes here alone, and the daemon is stopped in order.
                start_new_session=True,
            )
        try:
            while not os.path.exists(self._folder / "relayd.sock"):  # noqa: ASYNC240, PTH110 - its own folder
                if process.poll() is not None:
                    raise DemoFailedError(f"the daemon ended with status {process.returncode}")
                await trio.sleep(0.01)
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()

    async def _stop(self, process: trio.Process) -> None:
        process.terminate()
        with trio.move_on_after(_STOP_S):
            await process.wait()
        if process.returncode != 0:
            raise DemoFailedError(f"the daemon ended with status {process.returncode}, not 0")

    def _insert(self, path: Path) -> tuple[str, float]:
        """Insert the first event as a producer does; return its id, and when that was."""
        event_id = insert_one(path, "order.created", _FROM_SPOOL)
        at = trio.current_time()
        self._step(
            "A program inserts an event into the spool, in SQL:",
            "INSERT INTO relayd_spool (type, data) VALUES ('order.created',",
            f" '{_FROM_SPOOL}')",
        )
        return event_id, at

    async def _write_line(self) -> tuple[str, float]:
        """Write the second event to the socket; return its id, and when it was accepted."""
        stream = await trio.open_unix_socket(self._folder / "relayd.sock")
        async with stream:
            await stream.send_all(_FROM_SOCKET.encode() + b"\n")
            line = b""
            while not line.endswith(b"\n"):
                data = await stream.receive_some()
                if not data:
                    raise DemoFailedError("relayd closed the socket without an answer")
                line += data
        at = trio.current_time()
        answer = json.loads(line)
        if not answer.get("ok"):
            raise DemoFailedError(f"relayd refused the event: {answer.get('error')}")
        self._step(
            "Meanwhile another program writes an event to the socket, as a line of JSON:",
            f"> {_FROM_SOCKET}",
            f"< {line.decode().strip()}",
            "With that answer it is on disk, and survives a crash or a power cut.",
        )
        return answer["id"], at

    def _check_arrivals(self, failed: Arrival, retried: Arrival, second: Arrival) -> None:
        arrivals = self._desk.arrivals
        if sorted(map(id, arrivals)) != sorted(map(id, (failed, retried, second))):
            raise DemoFailedError(f"3 requests were to arrive, and {len(arrivals)} did")
        if [failed.attempt, retried.attempt, second.attempt] != ["1", "2", "1"]:
            raise DemoFailedError("the attempts are not numbered 1, 2 and 1")
        if failed.came.request.body != retried.came.request.body:
            raise DemoFailedError("the retry had another body")
        for each in arrivals:
            if each.came.verdict is None or not each.came.verdict.both:
                raise DemoFailedError(f"the signature of {each.event_id} is invalid")

    async def _deliveries(self) -> list[str]:
        """Ask the command for what became of them; the daemon has ended."""
        completed = await trio.run_process(
            [sys.executable, "-m", "relayd", "deliveries", "--json", "--config", str(self._config)],
            capture_stdout=True,
            capture_stderr=True,
            check=False,
        )
        if completed.returncode != 0:
            raise DemoFailedError(completed.stderr.decode(errors="replace").strip())
        deliveries: list[dict[str, Any]] = json.loads(completed.stdout)["deliveries"]
        found = [(each["state"], each["attempts"]) for each in reversed(deliveries)]
        if found != [("delivered", 2), ("delivered", 1)]:
            raise DemoFailedError(f"the queue says something else: {found}")
        return [
            f"{each['event_type']}  {each['subscription']}  {each['state']},"
            f" attempts: {each['attempts']}"
            for each in reversed(deliveries)
        ]


def _good(text: str) -> str:
    return click.style(text, fg="green")


def _bad(text: str) -> str:
    return click.style(text, fg="red")


def _ms(seconds: float) -> str:
    return f"{max(seconds, 0) * 1000:.0f} ms"


def _folded(text: str) -> list[str]:
    """Return text cut into lines that fit behind the steps' indent."""
    room = _COLUMNS - 6
    shown = printable(text)
    return [shown[start : start + room] for start in range(0, len(shown), room)]
