"""The configuration in force, and how what is on disk differs from it."""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from relayd.control import NoDaemonError, RefusedByDaemonError
from relayd.views.in_force import in_force_words
from relayd.web.dashboard.site import Site, Standing
from relayd.web.dashboard.visitor import Visitor
from relayd.web.in_force import in_force_of

TIMEOUT_S: Final = 30.0
KEPT_S: Final = 5.0
"""How long a comparison holds: the daemon reads the file again for each."""


class ConfigurationPage:
    """Answers `/configuration`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._comparing = asyncio.Lock()
        self._kept: Mapping[str, Any] = {}
        self._until = 0.0

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """Show it; with `compare` what a reload would change."""
        standing = await self._site.standing()
        document = in_force_of(request)
        compared = None
        if request.query_params.get("compare"):
            compared = await self._compare(standing, document.settings["config"])
        return await self._site.render(
            visitor,
            "configuration.html",
            standing,
            {
                "here": "/configuration",
                "settings": document.settings,
                "not_in_force": list(in_force_words(standing.in_force)),
                "compared": compared,
            },
        )

    async def _compare(self, standing: Standing, path: str) -> Mapping[str, Any]:
        """Return what the daemon answers to `difference`, or `problems`: why the file would be refused."""
        if standing.live is None:
            return {"problems": ["only a daemon that answers can compare them"]}
        async with self._comparing:
            loop = asyncio.get_running_loop()
            if loop.time() >= self._until:
                self._kept = await self._ask(path)
                self._until = loop.time() + KEPT_S
            return self._kept

    async def _ask(self, path: str) -> Mapping[str, Any]:
        try:
            return await self._site.daemon.ask(
                {"command": "difference", "config": path}, timeout_s=TIMEOUT_S
            )
        except RefusedByDaemonError as refused:
            return {"problems": refused.problems}
        except (NoDaemonError, TimeoutError):
            return {"problems": [f"relayd did not answer within {TIMEOUT_S:g} s; see its log"]}
