"""relayd, broken on purpose in one of several ways, by RELAYD_BROKEN.

`marks` marks a delivery as delivered before it sends it; `answers` tells its producer that an event
is durable before it is; `deletes` takes a spool's rows before they are in the queue. The harness
must find what each loses, or it would prove nothing of the real one. `stale` starts whatever a claim
brings back, though a reload, a pause or a cancel came in between; `twice` makes two events of a row
that is resubmitted twice; `limits` knows no limits. The harness must find
what the operator did in vain.

Each of the first three opens its window once, for one call, holds it open without end, and then makes the file
RELAYD_WINDOW: whoever kills it from then on makes it lose something, on any machine. While that
file is there, it does everything right.
"""

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import trio
from torture.configuration import OPERATED

from relayd.cli import main
from relayd.core.acceptance import Acceptance
from relayd.core.delivery import decide
from relayd.core.endpoint import Endpoint
from relayd.core.event import Event
from relayd.core.outcome import Outcome
from relayd.core.token_bucket import Rate
from relayd.core.webhook import Webhook
from relayd.delivery.attempt import Attempt
from relayd.delivery.due_deliveries import DueDeliveries
from relayd.delivery.endpoint_task import EndpointTask
from relayd.delivery.in_flight import InFlight
from relayd.delivery.worker_pool import Limit
from relayd.intake import Intake
from relayd.queue.sqlite.queue import Queue
from relayd.queue.values import Claim, Recording, Want

WINDOW = Path(os.environ.get("RELAYD_WINDOW", ""))

_accept = Intake.accept
_init = EndpointTask.__init__

held: list[str] = []
"""Whom the window is open for: a producer, or a delivery."""


opened_at: list[float] = []

TAKEN_S = 4.0
"""When a reader has surely deleted what was confirmed: it waits for a good moment to do so."""


def _mark_first(self: EndpointTask, *args: Any, **kwargs: Any) -> None:
    _init(self, *args, **kwargs)
    send = self._sender.send

    async def mark_then_send(attempt: Attempt, limit: Limit) -> Outcome:
        if attempt.subscription.name != "all" or held or WINDOW.exists():
            return await send(attempt, limit)
        held.append(attempt.delivery.id)
        now, done = self._clock(), Outcome(0.0, status=200)
        delivered = decide(attempt.delivery, done, (), started_at=now, now=now, jitter=0.0)
        await self._queue.record(Recording(delivered, attempt.subscription.url, None))
        WINDOW.touch()
        await trio.sleep_forever()
        raise AssertionError("it was killed")

    self._sender.send = mark_then_send  # type: ignore[method-assign]  # that is the defect


def _early(kind: str) -> Any:
    async def accept(
        self: Intake, events: Sequence[Event], source: str, webhooks: Sequence[Webhook] = ()
    ) -> Sequence[Acceptance]:
        if not source.startswith(kind) or WINDOW.exists():
            return await _accept(self, events, source, webhooks)
        [producer] = {each.id.split("_")[1] for each in events}
        if not held:
            held.append(producer)
            opened_at.append(trio.current_time())
            return [Acceptance.ACCEPTED for _ in events]
        if held == [producer] and trio.current_time() - opened_at[0] > TAKEN_S:
            # A producer that goes on has had its answer, and a spool that is read on has lost its
            # rows.
            WINDOW.touch()
        return await _accept(self, events, source, webhooks)

    return accept


CLAIM_S = 0.3
"""How much longer a claim takes here, so that much changes meanwhile."""

_claim = DueDeliveries.claim
_begin = DueDeliveries.begin
_apply = EndpointTask.apply


async def _claim_and_remember(self: Any, *args: Any) -> Any:
    self.remembered = dict(self.subscriptions)
    return await _claim(self, *args)


def _begin_all(self: Any, claimed: Any, startable: int, now: float) -> Any:
    current = self.subscriptions
    self.subscriptions = {**self.remembered, **current}
    try:
        return _begin(self, claimed, startable, now)
    finally:
        self.subscriptions = current


def _startable(self: Any, now: float) -> int:
    return int(min(self.endpoint_health.room(len(self._under_way), now).count, 256))


def _start_whatever_is_claimed() -> None:
    task: Any = EndpointTask
    queue: Any = Queue
    claim = Queue.claim

    async def slow(self: Queue, want: Want) -> Claim:
        found = await claim(self, want)
        if OPERATED.keys() >= set(want.subscriptions):  # the others have their load to bear
            await trio.sleep(CLAIM_S)
        return found

    queue.claim = slow
    task._startable = _startable  # also when it is retired
    due: Any = DueDeliveries
    due.claim, due.begin = _claim_and_remember, _begin_all
    in_flight: Any = InFlight
    in_flight.is_current = lambda *_: True


def _forget_who_resubmitted() -> None:
    intake: Any = Intake

    async def resubmit(
        self: Intake, event: Event, source: str, rejected: int, _webhook: object = None
    ) -> Acceptance:
        await trio.sleep(CLAIM_S)
        [result] = await self.accept([event], source)
        await self._queue.drop_rejected([rejected])
        return result

    intake.resubmit = resubmit


def _know_no_limit() -> None:
    task: Any = EndpointTask

    def init(self: Any, endpoint: Endpoint, *args: Any, **kwargs: Any) -> None:
        _init(self, _without_limits(endpoint), *args, **kwargs)

    def apply(self: Any, endpoint: Endpoint, subscriptions: Any) -> None:
        _apply(self, _without_limits(endpoint), subscriptions)

    task.__init__, task.apply = init, apply


def _without_limits(endpoint: Endpoint) -> Endpoint:
    return replace(endpoint, max_in_flight=100, rate=Rate(100_000, 1.0))


if __name__ == "__main__":
    match os.environ["RELAYD_BROKEN"]:
        case "marks":
            EndpointTask.__init__ = _mark_first  # type: ignore[method-assign]  # that is the defect
        case "answers":
            Intake.accept = _early("socket")  # type: ignore[method-assign]  # that is the defect
        case "deletes":
            Intake.accept = _early("spool")  # type: ignore[method-assign]  # that is the defect
        case "stale":
            _start_whatever_is_claimed()
        case "twice":
            _forget_who_resubmitted()
        case "limits":
            _know_no_limit()
        case other:
            raise AssertionError(other)
    sys.argv[0] = "relayd"
    main()
