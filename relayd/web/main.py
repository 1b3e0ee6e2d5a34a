"""The web process from its start to its end."""

import asyncio
import os
import resource
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final

import structlog

from relayd.config.sections import QueueConfig
from relayd.queue.snapshot import QueueReader
from relayd.web.api.exchange import event_operations, probe_operations
from relayd.web.api.openapi import OpenApi
from relayd.web.api.paths import api_operations
from relayd.web.api.service import Service
from relayd.web.app import make_app
from relayd.web.body import Bodies
from relayd.web.daemon_link import DaemonLink
from relayd.web.dashboard.routes import dashboard_routes
from relayd.web.defects import LogOfLoop, kept_running, libraries_quiet
from relayd.web.events_in import EventsIn
from relayd.web.feed import Feed
from relayd.web.feed_news import News
from relayd.web.followed_document import FollowedDocument
from relayd.web.health import Health
from relayd.web.intake_link import IntakeLink
from relayd.web.listener import open_socket
from relayd.web.metrics import Metrics
from relayd.web.reading_gaps import ReadingGaps
from relayd.web.server import serve
from relayd.web.webhook_counts import WebhookCounts
from relayd.web.webhooks_in import WebhooksIn

_log = structlog.get_logger()

FILES: Final = 4_096
"""File descriptors that it takes where it may: a shell and many containers begin with 1,024, and each
connection has one. The unit gives it as many."""
NICENESS: Final = 15
"""Deliveries come first, wherever it runs. At 5, ten open pages took 14 % of a busy relayd's throughput
on two cores; at 15 they took 5 %, and were no slower. The unit says the same, since its filter forbids the call."""


def run_web(queue: QueueConfig, reader: QueueReader, ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT. `reader` reads the queue. `ready` is called once requests are answered.

    Raises `NothingToServeError` where the daemon has written nothing to serve by, and `SocketPathError`.
    """
    _give_way()
    _take_files()
    gaps = ReadingGaps(reader, Path(f"{queue.path}-wal"))
    with libraries_quiet():
        asyncio.run(_run(queue, gaps, ready))


async def _run(queue: QueueConfig, reader: QueueReader, ready: Callable[[], None]) -> None:
    asyncio.get_running_loop().set_exception_handler(LogOfLoop())
    followed = FollowedDocument(queue.web_path)
    access = followed.document.access
    daemon = DaemonLink(queue.control_path)
    bodies = Bodies()
    intake, counts = IntakeLink(queue.intake_path), WebhookCounts()
    webhooks = WebhooksIn(intake, bodies, counts)
    news = News(reader)
    service = Service(daemon, reader)
    operations = [
        *event_operations(EventsIn(intake, bodies), Feed(reader, news)),
        *api_operations(service, bodies),
        *probe_operations(Health(daemon), Metrics(daemon, reader, counts)),
    ]
    operations.append(OpenApi(service, operations).operation())
    dashboard = dashboard_routes(daemon, reader, bodies, counts)
    private = make_app(followed, operations, webhooks=webhooks, public=False, dashboard=dashboard)
    served = [(private, open_socket(access.listen))]
    if access.public is not None:
        public = make_app(followed, operations, webhooks=webhooks, public=True)
        served.append((public, open_socket(access.public)))

    def started() -> None:
        _log.info(
            "web_started",
            listen=str(access.listen),
            public=None if access.public is None else str(access.public),
        )
        ready()

    following = [
        asyncio.create_task(kept_running("configuration", followed.follow)),
        asyncio.create_task(kept_running("news", news.follow)),
    ]
    try:
        await serve(served, started, news.stop)
    finally:
        for task in following:
            task.cancel()
    _log.info("web_stopped")


def _give_way() -> None:
    niceness = max(os.getpriority(os.PRIO_PROCESS, 0), NICENESS)
    with suppress(OSError):  # a system call filter may forbid it
        os.setpriority(os.PRIO_PROCESS, 0, niceness)


def _take_files() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = FILES if hard == resource.RLIM_INFINITY else min(FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError):  # a system call filter may forbid it: then it has what it has
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
