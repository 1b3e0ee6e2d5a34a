"""The web process's way to the daemon: one request of the control socket, in a thread."""

import asyncio
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import anyio
from anyio.to_thread import run_sync

from relayd.control import DaemonConnection, connected

REQUESTS: Final = 8
"""At a time. More wait here: the control socket's places are for operators as well."""

PROBES: Final = frozenset({"status", "in_force"})
"""What probes, pages and scrapes ask. It never waits behind the others, which may take minutes."""
PROBING: Final = 4


class DaemonLink:
    """Asks the daemon that listens at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._limiter = anyio.CapacityLimiter(REQUESTS)
        self._probing = anyio.CapacityLimiter(PROBING)

    async def ask(self, request: Mapping[str, object], *, timeout_s: float) -> dict[str, Any]:
        """Return the daemon's answer that it was done.

        Raises `NoDaemonError`, `RefusedByDaemonError`, or `TimeoutError`. Where it is cancelled, the
        request may still be done.
        """
        asking: list[DaemonConnection] = []
        cancelled = threading.Event()

        def ask() -> dict[str, Any]:
            with connected(self._path) as daemon:
                asking.append(daemon)
                if cancelled.is_set():  # before there was anything to hang up
                    daemon.hang_up()
                return daemon.ask(request, timeout_s=timeout_s)

        limiter = self._probing if request["command"] in PROBES else self._limiter
        try:
            return await run_sync(ask, limiter=limiter, abandon_on_cancel=True)
        except asyncio.CancelledError:
            # The end of the process waits for its threads, and this one may wait for minutes.
            cancelled.set()
            for each in asking:
                each.hang_up()
            raise
