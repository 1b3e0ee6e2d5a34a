"""The configuration in force, and how what is on disk differs from it."""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from relayd.control import NoDaemonError, RefusedByDaemonError
from relayd.views.in_force import in_force_words
from relayd.web.dashboard.site import Site, Standing
from relayd.web.dashboard.visitor import Visitor
from relayd.web.followed_document import document_of
from relayd.web.kept import Kept

TIMEOUT_S: Final = 30.0
KEPT_S: Final = 1.0
"""How long a comparison holds, or for as long as it took: the daemon reads the files again for each."""


class ConfigurationPage:
    """Answers `/configuration`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._compared = site.forgotten(Kept[tuple[float, Mapping[str, Any]]](KEPT_S, share=1))

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """Show it; with `compare` what a reload would change."""
        standing = await self._site.standing()
        document = document_of(request)
        compared, compared_at = None, None
        # A page that refreshes itself keeps what it shows of a comparison.
        if request.query_params.get("compare") and "x-refresh" not in request.headers:
            compared_at, compared = await self._compare(standing, document.settings["config"])
        return await self._site.render(
            visitor,
            "configuration.html",
            standing,
            {
                "here": "/configuration",
                "settings": document.settings,
                "not_in_force": list(in_force_words(standing.in_force)),
                "compared": compared,
                "compared_at": compared_at,
            },
        )

    async def _compare(self, standing: Standing, path: str) -> tuple[float, Mapping[str, Any]]:
        """Return when it was compared, in Unix seconds, and what the daemon answers to `difference`.

        It is `problems` where the file would be refused.
        """
        if standing.live is None:
            return time.time(), {"problems": ["only a daemon that answers can compare them"]}
        return await self._compared.get(partial(self._ask, path))

    async def _ask(self, path: str) -> tuple[float, Mapping[str, Any]]:
        # What is changed on disk while the daemon reads may not be in its answer.
        return time.time(), await self._difference(path)

    async def _difference(self, path: str) -> Mapping[str, Any]:
        try:
            return await self._site.daemon.ask(
                {"command": "difference", "config": path}, timeout_s=TIMEOUT_S
            )
        except RefusedByDaemonError as refused:
            return {"problems": refused.problems}
        except (NoDaemonError, TimeoutError):
            return {"problems": [f"relayd did not answer within {TIMEOUT_S:g} s; see its log"]}
