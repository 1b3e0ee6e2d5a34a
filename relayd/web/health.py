"""`/healthz` and `/readyz`: whether the daemon answers and its queue can be written, asked once a second."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse

from relayd.control import NoDaemonError, RefusedByDaemonError
from relayd.core.absence import Absence
from relayd.core.readiness import Readiness, readiness
from relayd.views.in_force import not_in_force
from relayd.web.access import reads
from relayd.web.daemon_link import DaemonLink

KEPT_S: Final = 1.0
"""How long an answer holds for those who ask next: probes cannot burden the daemon."""

TIMEOUT_S: Final = 3.0


class Health:
    """What the probes are answered."""

    def __init__(self, daemon: DaemonLink) -> None:
        self._daemon = daemon
        self._kept: Readiness | None = None
        self._until = 0.0
        self._asking = asyncio.Lock()

    async def answer(self, request: Request) -> JSONResponse:
        """Answer 200 or 503; the reasons are for those who may read."""
        found = await self._look()
        document: dict[str, object] = {"ok": found.ok}
        if reads(request):
            document["reasons"] = list(found.reasons)
        return JSONResponse(document, 200 if found.ok else 503, {"Cache-Control": "no-store"})

    async def _look(self) -> Readiness:
        async with self._asking:
            now = asyncio.get_running_loop().time()
            if self._kept is None or now >= self._until:
                self._kept = await self._ask()
                self._until = asyncio.get_running_loop().time() + KEPT_S
            return self._kept

    async def _ask(self) -> Readiness:
        try:
            live = await self._daemon.ask({"command": "status"}, timeout_s=TIMEOUT_S)
            in_force = await self._in_force()
        except NoDaemonError as error:
            return readiness(None, error.absence)
        except (TimeoutError, RefusedByDaemonError):
            return readiness(None, Absence.NOT_ANSWERING)
        return readiness(live, None, not_in_force(in_force))

    async def _in_force(self) -> Mapping[str, Any] | None:
        """Return what the daemon says of the files on disk; None where it cannot say so in time."""
        try:
            return await self._daemon.ask({"command": "in_force"}, timeout_s=TIMEOUT_S)
        except (NoDaemonError, RefusedByDaemonError, TimeoutError):
            return None
