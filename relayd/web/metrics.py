"""`/metrics`: what Prometheus scrapes, made in a thread, and kept for a while.

Logs `metrics_without_queue` when the queue cannot be read: see `web.queue_trouble`.
"""

import asyncio
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

import anyio
import structlog
from anyio.to_thread import run_sync
from starlette.requests import Request
from starlette.responses import Response

from relayd.control import NoDaemonError, RefusedByDaemonError
from relayd.core.exposition import OPENMETRICS_TYPE, TEXT_TYPE, Metric, exposition, wanted_format
from relayd.queue.overview_values import Overview, Totals
from relayd.queue.snapshot import QueueReader
from relayd.queue.snapshot_values import QueueUnreadableError
from relayd.views.metrics import MetricFacts, metrics
from relayd.web.access import looker_of
from relayd.web.daemon_link import DaemonLink
from relayd.web.followed_document import document_of
from relayd.web.kept import SHARE
from relayd.web.queue_trouble import QueueTrouble
from relayd.web.webhook_counts import WebhookCounts

_log = structlog.get_logger()

KEPT_S: Final = 1.0
"""How long a scrape holds for those who ask next, at least: see `web.kept`."""

SNAPSHOT_S: Final = 2.0
TIMEOUT_S: Final = 2.0


class Metrics:
    """What scrapes are answered."""

    def __init__(self, daemon: DaemonLink, queue: QueueReader, webhooks: WebhookCounts) -> None:
        self._daemon = daemon
        self._webhooks = webhooks
        self._queue = queue
        self._trouble = QueueTrouble()
        self._found: list[Metric] = []
        self._kept: dict[bool, bytes] = {}
        self._until = 0.0
        self._asking = asyncio.Lock()
        self._limiter = anyio.CapacityLimiter(1)

    async def answer(self, request: Request) -> Response:
        """Answer those who may read. Raises `ProblemError`."""
        looker_of(request)
        openmetrics = wanted_format(request.headers.get("accept", "")) == "openmetrics"
        async with self._asking:
            loop = asyncio.get_running_loop()
            if loop.time() >= self._until:
                document = document_of(request)
                loaded_at = document.settings.get("loaded_at")
                inbound = self._webhooks.of(document.inbound)
                began = loop.time()
                self._found, self._kept = await self._collect(loaded_at, inbound), {}
                self._until = loop.time() + max(KEPT_S, SHARE * (loop.time() - began))
            if openmetrics not in self._kept:
                render = partial(exposition, self._found, openmetrics=openmetrics)
                self._kept[openmetrics] = await run_sync(render, limiter=self._limiter)
            content = self._kept[openmetrics]
        return Response(
            content,
            headers={
                "Content-Type": OPENMETRICS_TYPE if openmetrics else TEXT_TYPE,
                "Cache-Control": "no-store",
                "Vary": "Accept",
            },
        )

    async def _collect(
        self, loaded_at: float | None, inbound: Mapping[str, Mapping[str, int]]
    ) -> list[Metric]:
        live = await self._ask("status")
        in_force = None if live is None else await self._ask("in_force")

        def collect() -> list[Metric]:
            now = time.time()
            overview, totals = self._read(now)
            return metrics(MetricFacts(now, loaded_at, overview, totals, live, in_force, inbound))

        return await run_sync(collect, limiter=self._limiter)

    def _read(self, now: float) -> tuple[Overview | None, Totals | None]:
        try:
            with self._queue.snapshot(limit_s=SNAPSHOT_S) as snapshot:
                found = snapshot.overview(now=now, tallied=False), snapshot.totals()
        except QueueUnreadableError as error:
            if self._trouble.is_news(error):
                _log.warning("metrics_without_queue", detail=str(error))
            return None, None
        self._trouble.ends()
        return found

    async def _ask(self, command: str) -> dict[str, Any] | None:
        try:
            return await self._daemon.ask({"command": command}, timeout_s=TIMEOUT_S)
        except (NoDaemonError, RefusedByDaemonError, TimeoutError):
            return None
