"""/metrics where something does not answer, and when many ask: the application, without its server."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from prometheus_grammar import read_exposition
from starlette.applications import Starlette
from starlette.routing import Route

from relayd.core.web_access import Listen, WebAccess
from relayd.queue.snapshot import ChangeFeed, Snapshot
from relayd.queue.snapshot_values import QueueUnreadableError
from relayd.views.web_document import WebDocument
from relayd.web.daemon_link import DaemonLink
from relayd.web.metrics import Metrics
from relayd.web.webhook_counts import WebhookCounts

ACCESS = WebAccess(Listen(host="127.0.0.1", port=1), open=True)


class Unreadable:
    """A queue that cannot be read, and counts who tried."""

    def __init__(self) -> None:
        self.looks = 0

    def snapshot(self, *, limit_s: float | None = None) -> AbstractContextManager[Snapshot]:
        assert limit_s == 2.0
        self.looks += 1
        raise QueueUnreadableError(Path("queue.db"), "reading it takes too long")

    def changes(self) -> AbstractContextManager[ChangeFeed]:
        raise NotImplementedError


class Document:
    document = WebDocument(ACCESS, {"loaded_at": 1.0})


def asked(
    metrics: Metrics, work: Callable[[httpx.AsyncClient], Awaitable[list[httpx.Response]]]
) -> list[httpx.Response]:
    app = Starlette(routes=[Route("/metrics", metrics.answer)])
    app.state.followed = Document()
    app.state.may_be_open = True

    async def run() -> list[httpx.Response]:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await work(client)

    return asyncio.run(run())


def test_without_daemon_and_queue_it_still_says_so(tmp_path: Path) -> None:
    async def once(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.get("/metrics")]

    [found] = asked(Metrics(DaemonLink(tmp_path / "none"), Unreadable(), WebhookCounts()), once)
    assert found.status_code == 200
    families = read_exposition(found.content)
    assert families["relayd_up"].samples["relayd_up", ""] == 0
    assert families["relayd_queue_up"].samples["relayd_queue_up", ""] == 0
    assert "relayd_attempts_total" not in families


def test_all_who_ask_within_a_second_get_one_answer(tmp_path: Path) -> None:
    queue = Unreadable()

    async def many(client: httpx.AsyncClient) -> list[httpx.Response]:
        openmetrics = {"Accept": "application/openmetrics-text"}
        each = [client.get("/metrics", headers=openmetrics if n % 2 else {}) for n in range(20)]
        return list(await asyncio.gather(*each))

    found = asked(Metrics(DaemonLink(tmp_path / "none"), queue, WebhookCounts()), many)
    assert [each.status_code for each in found] == [200] * 20
    assert queue.looks == 1
    for each in found[1::2]:
        assert each.headers["vary"] == "Accept"
        read_exposition(each.content, openmetrics=True)


@pytest.mark.parametrize("asking", [1, 5])
def test_one_that_goes_away_leaves_the_others_their_answer(tmp_path: Path, asking: int) -> None:
    async def some(client: httpx.AsyncClient) -> list[httpx.Response]:
        leaving = asyncio.create_task(client.get("/metrics"))
        await asyncio.sleep(0)
        staying = [asyncio.create_task(client.get("/metrics")) for _ in range(asking)]
        leaving.cancel()
        return list(await asyncio.gather(*staying))

    found = asked(Metrics(DaemonLink(tmp_path / "none"), Unreadable(), WebhookCounts()), some)
    assert [each.status_code for each in found] == [200] * asking
