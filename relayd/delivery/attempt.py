"""One attempt of a delivery: signed, sent, and what came of it as a value, whatever happens."""

from collections.abc import Callable
from dataclasses import dataclass

import httpx
import structlog

from relayd.at_work import AtWork
from relayd.core.delivery import Delivery
from relayd.core.outcome import Failure, Outcome
from relayd.core.poison import DELIVERY_DETAIL
from relayd.core.signature import signed_headers
from relayd.core.subscription import Subscription
from relayd.delivery.observer import identity
from relayd.transport.client import exchange, timed_out
from relayd.transport.request import AnotherToken, Request, build_request

DEFECT_DETAIL = "relayd itself failed; its log has the traceback"


@dataclass(slots=True)
class Attempt:
    """One attempt under way. `started_at` is in Unix seconds.

    `release` is the newest release when it began: see `core.release`. `recorded` says that the queue
    has what came of it.
    """

    delivery: Delivery
    subscription: Subscription
    release: int
    started_at: float = 0.0
    request: Request | None = None
    recorded: bool = False

    @property
    def timeout_s(self) -> float:
        """How long it may take."""
        return self.subscription.timeout_s

    def timed_out(self) -> Outcome:
        """Return what came of it when it was cancelled after its time."""
        assert self.request is not None  # nothing is awaited before it is made
        return timed_out(self.request, self.timeout_s, now=self.started_at)


class Sender:
    """Makes attempts at one endpoint.

    `another_token` waits for a token beyond the one that each attempt was given. `clock` gives
    Unix seconds.
    """

    def __init__(
        self,
        url: str,
        transport: httpx.AsyncBaseTransport,
        at_work: AtWork,
        clock: Callable[[], float],
        log: structlog.typing.FilteringBoundLogger,
        *,
        another_token: AnotherToken,
    ) -> None:
        self._url = httpx.URL(url)
        self._transport = transport
        self._at_work = at_work
        self._clock = clock
        self._log = log
        self._another_token = another_token

    async def make(self, attempt: Attempt) -> Outcome:
        """Make an attempt, without a time limit. Cancellation passes through, and nothing else."""
        seq = attempt.delivery.seq
        attempt.started_at = self._clock()
        if seq in self._at_work.poison:
            return Outcome(0.0, failure=Failure.POISON, detail=DELIVERY_DETAIL)
        try:
            return await self._at_work.drive(seq, self._send(attempt))
        except Exception:  # noqa: BLE001 - the one place where a defect is caught: see below
            # A poisonous delivery ends, the daemon does not.
            self._log.exception("attempt_defect", **identity(attempt.delivery))
            return Outcome(
                duration_s=self._clock() - attempt.started_at,
                failure=Failure.DEFECT,
                detail=DEFECT_DETAIL,
            )

    async def _send(self, attempt: Attempt) -> Outcome:
        delivery, now = attempt.delivery, attempt.started_at
        headers = signed_headers(
            delivery, attempt.subscription, attempt=delivery.attempts + 1, now=now
        )
        attempt.request = build_request(self._url, headers, delivery.body, self._another_token)
        return await exchange(self._transport, attempt.request, now=now)
