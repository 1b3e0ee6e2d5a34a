"""An attempt whose sentence was not made in time."""

import ssl
from typing import cast

import httpx
import pytest
import trio
from trio.testing import MockClock

from relayd.core.addresses import Address
from relayd.core.delivery import Delivery, State
from relayd.core.form import Format
from relayd.core.matching import Selection
from relayd.core.outcome import Failure, Outcome
from relayd.core.smtp import Smtp
from relayd.core.subscription import Subscription
from relayd.crash_journal import AtWork
from relayd.delivery.attempt import Attempt, Sender
from relayd.delivery.formed_request import MOST_READ, formed_request
from relayd.delivery.observer import Observer
from relayd.delivery.template_process import TemplateProcess
from relayd.delivery.worker_pool import Limit, TimeLimits, WorkerPool
from relayd.transport.mail import MailTransport
from relayd.transport.request import Request


async def no_token() -> bool:
    raise AssertionError


def test_an_attempt_that_was_cut_off_before_its_request_is_a_timeout() -> None:
    delivery = Delivery(1, "dlv_1", "chat", "evt_1", "a.b", State.PENDING, 0, 0, 0.0, b"{}")
    subscription = Subscription(
        "chat", "https://a.example/", Selection(("*",), ()), active=True, secret=None,
        previous_secret=None, signature="locallygrown", timeout_s=0.1, retry=(), headers=(),
        format="text",
    )  # fmt: skip
    outcome = Attempt(delivery, subscription, 0, 0.0).result()
    assert outcome.failure is Failure.TIMEOUT
    assert outcome.detail == "what it sends was not made within 0.1 s: relayd is overloaded"


@pytest.mark.parametrize("form", ["text", "slack", "discord", "mail"])
async def test_a_large_event_is_not_read_for_its_sentence(form: Format) -> None:
    body = b'{"id":"evt_1","data":{"object":{"id":"order_9","a":"' + b"x" * MOST_READ + b'"}}}'
    delivery = Delivery(
        1, "dlv_1", "chat", "evt_1", "order.created", State.PENDING, 0, 0, 0.0, body
    )
    subscription = Subscription(
        "chat", "mailto:a@example.com", Selection(("*",), ()), active=True, secret=None,
        previous_secret=None, signature="locallygrown", timeout_s=0.1, retry=(), headers=(),
        format=form, mail_from="relayd@example.com",
    )  # fmt: skip
    url = httpx.URL("https://a.example/")
    request = await formed_request(
        url, delivery, subscription, templates=TemplateProcess(), now=1_700_000_000.0
    )
    assert isinstance(request, Request)
    assert b"A customer placed an order" in request.body
    assert b"evt" in request.body
    assert b"order_9" not in request.body
    assert b"unknown" not in request.body


async def test_the_time_of_a_mail_begins_with_its_turn(autojump_clock: MockClock) -> None:
    """Each takes 8 s of 10, one after the other: none is cut off, and none uses up its time waiting."""
    del autojump_clock
    turn = trio.Lock()

    class Slow(MailTransport):
        """Mail to a server that takes 8 s for each."""

        async def _deliver(self, _: Request) -> str:
            await trio.sleep(8.0)
            return "kept"

    async def resolve(*_: object) -> list[Address]:
        raise AssertionError

    async def context() -> ssl.SSLContext:
        raise AssertionError

    transport = Slow(
        "mailto:a@example.com",
        Smtp("localhost", 25, "none", "relayd@example.com", None, None),
        resolve=resolve,
        turn=turn,
        context=context,
    )
    outcomes: list[Outcome] = []
    subscription = Subscription(
        "ops", "mailto:a@example.com", Selection(("*",), ()), active=True, secret=None,
        previous_secret=None, signature="locallygrown", timeout_s=10.0, retry=(), headers=(),
        format="mail", mail_from="relayd@example.com",
    )  # fmt: skip
    sender = Sender(
        "https://a.example/", transport, at_work=AtWork.unrecorded(), another_token=no_token,
        observer=cast("Observer", None), clock=trio.current_time, templates=TemplateProcess(),
    )  # fmt: skip

    async def deliver(attempt: Attempt, limit: Limit) -> None:
        attempt.outcome = await sender.send(attempt, limit)
        outcomes.append(attempt.result())

    limits = TimeLimits()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(limits.run)
        async with trio.open_nursery() as workers:
            pools = [WorkerPool(workers, limits) for _ in range(5)]
            for number, pool in enumerate(pools):
                delivery = Delivery(
                    number, f"dlv_{number}", "ops", "evt_1", "a.b", State.PENDING, 0, 0, 0.0, b"{}"
                )
                pool.start(deliver, Attempt(delivery, subscription, 0, trio.current_time()))
            await trio.sleep(41)
            workers.cancel_scope.cancel()
        nursery.cancel_scope.cancel()
    assert [each.status for each in outcomes] == [250] * 5
