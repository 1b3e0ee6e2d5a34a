"""relayd under measurement: its real process, with a configuration and a folder of its own."""

import json
import socket
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from benchmarks import queue_file, spool
from benchmarks.errors import RefusedError
from benchmarks.events import SECRET
from benchmarks.processes import Program
from benchmarks.receiver import Arrivals

START_S = 120.0

Subscriptions = Mapping[str, Mapping[str, object]]

FAST: Mapping[str, object] = {"rate_limit": "1000000/s", "max_in_flight": 64}
"""Limits that limit nothing here."""


class Relayd:
    """A daemon in `folder`, with a spool, a socket and a queue of its own, and its usual log.

    A queue or spool that is in the folder already is used.
    """

    def __init__(
        self,
        folder: Path,
        subscriptions: Subscriptions,
        *,
        level: str = "info",
        defaults: Mapping[str, object] = FAST,
        http: Mapping[str, object] | None = None,
    ) -> None:
        self.spool = folder / "spool.db"
        self.queue = folder / "queue.db"
        if not self.spool.exists():
            spool.make_spool(self.spool)
        config = folder / "config.yaml"
        # JSON is YAML.
        config.write_text(json.dumps(_file(subscriptions, level, defaults, http), indent=1))
        config.chmod(0o600)
        self.spawned_at = time.time()
        self.program = Program(
            [sys.executable, "-m", "relayd", "run", "--config", str(config)],
            log=folder / "relayd.log",
        )
        try:
            self._wait_until_started(folder / "queue.db.control")
        except BaseException:
            self.program.kill()
            raise
        self.started_at = time.time()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.program.stop()

    def wait_until_recorded(
        self, arrivals: Arrivals, count: int, *, timeout_s: float = 300.0
    ) -> float:
        """Wait until so many requests came and nothing waits any more; return the moment."""
        arrivals.wait(count, timeout_s=timeout_s, check=self.program.check)
        until = time.monotonic() + 30
        while not spool.is_empty(self.spool) or queue_file.is_waiting(self.queue):
            if time.monotonic() > until:
                raise RefusedError("deliveries were not recorded")
            time.sleep(0.005)
        return time.time()

    def wait_until_taken_in(self, timeout_s: float = 300.0) -> None:
        """Wait until the spool is empty."""
        until = time.monotonic() + timeout_s
        while not spool.is_empty(self.spool):
            self.program.check()
            if time.monotonic() > until:
                raise RefusedError("the spool was not taken in")
            time.sleep(0.01)

    def _wait_until_started(self, control: Path) -> None:
        """Wait for its control socket, which it opens once everything else runs."""
        until = time.monotonic() + START_S
        while True:
            with socket.socket(socket.AF_UNIX) as probe:
                if probe.connect_ex(str(control)) == 0:
                    return
            self.program.check()
            if time.monotonic() > until:
                raise RefusedError(f"relayd did not start: {self.program.last_lines()}")
            time.sleep(0.005)


def _file(
    subscriptions: Subscriptions,
    level: str,
    defaults: Mapping[str, object],
    http: Mapping[str, object] | None,
) -> dict[str, object]:
    return {
        **({} if http is None else {"http": http}),
        "market_id": "market_123",
        "spools": {"market": {"path": "spool.db"}},
        "socket": {"path": "relayd.sock"},
        "queue": {"path": "queue.db"},
        "log": {"level": level, "format": "json"},
        "allow_networks": ["127.0.0.0/8"],
        "defaults": dict(defaults),
        "subscriptions": {
            name: {"events": "*", "secret": SECRET, **keys} for name, keys in subscriptions.items()
        },
    }
