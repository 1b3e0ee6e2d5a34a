"""One attempt of a delivery: signed and sent, with a time limit. The result is always a value."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import httpx
import trio

from relayd.core.delivery import Delivery
from relayd.core.outcome import Failure, Outcome, failed_outcome
from relayd.core.quarantine import DELIVERY_DETAIL
from relayd.core.signature import signed_headers
from relayd.core.subscription import Subscription
from relayd.crash_journal import AtWork
from relayd.delivery.formed_request import formed_request, not_formed
from relayd.delivery.observer import DEFECT_DETAIL, Observer
from relayd.delivery.template_process import TemplateProcess
from relayd.delivery.worker_pool import Limit
from relayd.transport.exchange import exchange, timed_out
from relayd.transport.request import AnotherToken, Request, build_request

TURN_S: Final = 90.0
"""How long a mail waits for its turn: more than another one takes at most, and less than the time after
which the watchdog calls it stuck."""


@dataclass(slots=True)
class Attempt:
    """One attempt under way. `started_at` is in Unix seconds.

    `newest_release` is that of when it began: see `core.release`. `moved_at` is when it last
    made progress, on trio's clock: see `standing.Pulse`. `recorded` says that the queue has its result.
    """

    delivery: Delivery
    subscription: Subscription
    newest_release: int
    moved_at: float
    started_at: float = 0.0
    request: Request | None = None
    outcome: Outcome | None = None
    recorded: bool = False

    def result(self) -> Outcome:
        """Return its outcome, which is a timeout when none came."""
        if self.outcome is not None:
            return self.outcome
        if self.request is None:  # a form is made in slices, between which others run
            return not_formed(self.subscription.timeout_s)
        limit_s = self.subscription.timeout_s if self.request.begins is None else TURN_S
        return timed_out(self.request, limit_s, now=self.started_at)


class Sender:
    """Makes attempts at one endpoint.

    `another_token` waits for a token beyond the one that each attempt was given. `clock` gives
    Unix seconds.
    """

    def __init__(
        self,
        url: str,
        transport: httpx.AsyncBaseTransport,
        *,
        at_work: AtWork,
        another_token: AnotherToken,
        observer: Observer,
        clock: Callable[[], float],
        templates: TemplateProcess,
    ) -> None:
        self._templates = templates
        self._url = httpx.URL(url)
        self._transport = transport
        self._at_work = at_work
        self._another_token = another_token
        self._observer = observer
        self._clock = clock

    async def send(self, attempt: Attempt, limit: Limit) -> Outcome:
        """Make an attempt within its subscription's timeout; cancelled when that passes.

        Other cancellation passes through, and no exception does.
        """
        seq = attempt.delivery.seq
        now = attempt.started_at = self._clock()
        if seq in self._at_work.poison:
            return failed_outcome(0.0, Failure.POISON, DELIVERY_DETAIL)
        limit.begin(attempt.subscription.timeout_s)
        try:
            return await self._at_work.drive(seq, self._exchange(attempt, limit))
        except Exception as defect:  # noqa: BLE001 - the one place where a defect is caught: see below
            # A poisonous delivery ends, the daemon does not.
            self._observer.attempt_defect(attempt.delivery, defect)
            return failed_outcome(self._clock() - now, Failure.DEFECT, DEFECT_DETAIL)
        finally:
            limit.end()

    async def _exchange(self, attempt: Attempt, limit: Limit) -> Outcome:
        delivery, now = attempt.delivery, attempt.started_at
        subscription = attempt.subscription
        if subscription.format is not None or subscription.template is not None:
            made = await formed_request(
                self._url,
                delivery,
                subscription,
                templates=self._templates,
                now=now,
                another_token=self._another_token,
            )
            if isinstance(made, Outcome):
                return replace(made, duration_s=max(self._clock() - now, 0.0))
            attempt.request = made
            if subscription.format == "mail":
                _wait_for_turn(attempt, made, limit)
            return await exchange(self._transport, attempt.request, now=now)
        headers = signed_headers(delivery, subscription, attempt=delivery.attempts + 1, now=now)
        attempt.request = build_request(
            self._url, headers, delivery.body, self._another_token, own=subscription.headers
        )
        return await exchange(self._transport, attempt.request, now=now)


def _wait_for_turn(attempt: Attempt, request: Request, limit: Limit) -> None:
    """Have the subscription's time begin with its turn: else others' mail would use it up."""

    def begins() -> None:
        limit.begin(attempt.subscription.timeout_s)
        attempt.moved_at = trio.current_time()

    request.begins = begins
    limit.begin(TURN_S)
