"""Webhooks' bodies: whoever never ends theirs keeps out others like them, and no provider."""

import asyncio
import time
from types import SimpleNamespace
from typing import Any, cast

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
from relayd.web.webhooks_in import MOST_BYTES, WebhooksIn

STRIPE = entry(Provider.STRIPE)
DOCUMENT = WebDocument(WebAccess(Listen("127.0.0.1", 8787)), {}, inbound={"stripe": STRIPE})
APP = SimpleNamespace(state=SimpleNamespace(followed=SimpleNamespace(document=DOCUMENT)))
PROVIDER = "198.51.100.7"


class Taking:
    """A daemon that takes each."""

    async def patiently(self, _: str, __: bytes) -> dict[str, Any]:
        return {"ok": True, "id": "evt_1"}


def request_of(address: str, headers: Any, receive: Any) -> Request:
    scope = {"type": "http", "method": "POST", "headers": headers, "client": (address, 1)}
    return Request({**scope, "path_params": {"name": "stripe"}, "app": APP}, receive)


def never_ended(address: str, size: int) -> Request:
    sent = False

    async def receive() -> Message:
        nonlocal sent
        if sent:
            await asyncio.Event().wait()
        sent = True
        return {"type": "http.request", "body": b"x" * size, "more_body": True}

    return request_of(address, [], receive)


def signed(address: str) -> Request:
    headers, body = stripe_request(stripe_event(), at=int(time.time()))

    async def receive() -> Message:
        return {"type": "http.request", "body": body, "more_body": False}

    return request_of(address, headers, receive)


async def status(webhooks: WebhooksIn, request: Request) -> int:
    try:
        return (await webhooks.post(request)).status_code
    except ProblemError as problem:
        return int(problem.status)


def test_bodies_that_never_end_keep_out_no_known_provider() -> None:
    async def run() -> None:
        webhooks = WebhooksIn(cast("IntakeLink", Taking()), Bodies(), WebhookCounts())
        assert await status(webhooks, signed(PROVIDER)) == 200
        holding = [
            asyncio.create_task(status(webhooks, never_ended(f"192.0.2.{number}", MOST_BYTES)))
            for number in range(40)
        ]
        await asyncio.sleep(0.05)
        assert await status(webhooks, signed("203.0.113.9")) == 429, (
            "there is no room for strangers"
        )
        assert await status(webhooks, signed(PROVIDER)) == 200
        for each in holding:
            each.cancel()
        await asyncio.wait(holding)
        assert await status(webhooks, signed("203.0.113.9")) == 200, "their room was given back"

    asyncio.run(run())


def test_one_stranger_has_a_part_of_what_strangers_have() -> None:
    async def run() -> None:
        webhooks = WebhooksIn(cast("IntakeLink", Taking()), Bodies(), WebhookCounts())
        holding = [
            asyncio.create_task(status(webhooks, never_ended("192.0.2.1", MOST_BYTES)))
            for _ in range(10)
        ]
        await asyncio.sleep(0.05)
        assert await status(webhooks, signed("192.0.2.1")) == 429
        assert await status(webhooks, signed(PROVIDER)) == 200
        for each in holding:
            each.cancel()
        await asyncio.wait(holding)

    asyncio.run(run())
