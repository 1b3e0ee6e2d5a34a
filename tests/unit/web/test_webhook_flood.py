"""Floods of bad signatures: whoever sends them is held up, and no provider is."""

import asyncio
import time
from dataclasses import replace
from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, cast

import pytest
from providers import entry, stripe_event, stripe_request
from starlette.requests import Request
from starlette.types import Message

from relayd.core.inbound.entry import Provider
from relayd.core.web_access import Listen, WebAccess
from relayd.views.web_document import WebDocument
from relayd.web.body import Bodies
from relayd.web.intake_link import IntakeLink
from relayd.web.problem import ProblemError
from relayd.web.webhook_counts import WebhookCounts
from relayd.web.webhooks_in import REFUSED_OF_ALL, REFUSED_OF_ONE, SMALL_BYTES, WebhooksIn

STRIPE = entry(Provider.STRIPE)
NAMED = replace(STRIPE, name="named", networks=(ip_network("198.51.100.0/24"),))
KNOWN, NEW = "203.0.113.200", "198.51.100.9"


class Taking:
    """A daemon that takes each."""

    async def patiently(self, _: str, __: bytes) -> dict[str, Any]:
        return {"ok": True, "id": "evt_1"}


class Site:
    """The entries, and who asked what."""

    def __init__(self) -> None:
        inbound = {each.name: each for each in (STRIPE, NAMED)}
        document = WebDocument(WebAccess(Listen("127.0.0.1", 8787)), {}, inbound=inbound)
        self._app = SimpleNamespace(
            state=SimpleNamespace(followed=SimpleNamespace(document=document))
        )
        self.webhooks = WebhooksIn(cast("IntakeLink", Taking()), Bodies(), WebhookCounts())

    async def status(
        self, address: str, name: str = "stripe", *, good: bool = True, size: int = 0
    ) -> int:
        event = stripe_event(data={"object": {"id": "x", "note": "n" * size}})
        headers, body = stripe_request(event, at=int(time.time()))

        async def receive() -> Message:
            text = body if good else body + b" "
            return {"type": "http.request", "body": text, "more_body": False}

        scope = {"type": "http", "method": "POST", "headers": headers, "client": (address, 1)}
        request = Request({**scope, "path_params": {"name": name}, "app": self._app}, receive)
        try:
            return (await self.webhooks.post(request)).status_code
        except ProblemError as problem:
            return int(problem.status)

    async def flooded(self) -> None:
        """Have all that strangers may send together used up, from many addresses."""
        for number in range(REFUSED_OF_ALL.burst):
            assert await self.status(f"203.0.113.{number % 200}", good=False) == 401


@pytest.fixture(autouse=True)
def _stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no time pass, or the buckets fill meanwhile."""
    monkeypatch.setattr(time, "monotonic", lambda: 100.0)


def test_a_flood_from_many_addresses_holds_up_no_provider() -> None:
    async def run() -> None:
        site = Site()
        assert await site.status(KNOWN) == 200
        await site.flooded()
        assert await site.status(KNOWN, size=SMALL_BYTES) == 200, "its address is known"
        assert await site.status(NEW, size=1_000) == 200, "what it sends is small"
        # Of what is large and comes from nowhere in particular, so much is looked at, and no more.
        assert await site.status("192.0.2.1", size=SMALL_BYTES) == 429
        assert await site.status("192.0.2.2", "named", size=SMALL_BYTES) == 403
        assert await site.status("198.51.100.10", "named", size=SMALL_BYTES) == 200, "it is named"

    asyncio.run(run())


def test_who_sends_them_is_held_up_also_with_small_ones_and_where_its_network_is_named() -> None:
    async def run() -> None:
        site = Site()
        for name in ("stripe", "named"):
            for _ in range(REFUSED_OF_ONE.burst):
                assert await site.status(NEW, name, good=False) == 401
            assert await site.status(NEW, name) == 429
            assert await site.status("198.51.100.10", name) == 200
            site = Site()

    asyncio.run(run())


def test_what_no_entry_has_counts_for_nobody() -> None:
    async def run() -> None:
        site = Site()
        for _ in range(2 * REFUSED_OF_ALL.burst):
            assert await site.status(NEW, "no-such-entry") == 404
        assert await site.status(NEW, size=SMALL_BYTES) == 200

    asyncio.run(run())


def test_what_allow_from_does_not_have_counts_for_nobody() -> None:
    async def run() -> None:
        site = Site()
        for number in range(2 * REFUSED_OF_ALL.burst):
            assert await site.status(f"203.0.113.{number % 200}", "named", good=False) == 403
        assert await site.status(NEW, size=SMALL_BYTES) == 200

    asyncio.run(run())
