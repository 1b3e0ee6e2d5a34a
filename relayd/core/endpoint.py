"""An endpoint's limits and its health, which decides how many attempts may be under way at once.

A failing endpoint is tried with one attempt at a time, whatever waits for it: enough to see it
come back, and too little to be a burden. Once it answers 2xx again, the retries that were put off
while it failed are due at once, and the attempts at a time double with each success (1, 2, 4…)
until the endpoint's own limit.
"""

from dataclasses import dataclass, replace
from urllib.parse import urlsplit

from relayd.core.outcome import Outcome
from relayd.core.token_bucket import Rate

FAILING_AFTER = 3
"""Failures in a row, after which an endpoint counts as failing. One event that a healthy receiver
always refuses does not make it so."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL that receives deliveries, with the limits that its subscriptions share."""

    url: str
    rate: Rate
    max_in_flight: int


@dataclass(frozen=True, slots=True)
class Health:
    """What the last attempts showed of an endpoint. All times are Unix seconds.

    `failures` counts those in a row, the first of them at `failed_at`. The endpoint is failing
    since `failing_since` (the first failure of the row), and None while it is not. Retries that
    were scheduled before `released_at` are due at once. No attempt starts before `held_until`
    (Retry-After). `ramp` is the number of attempts allowed at once; None leaves it to the limit.
    """

    failures: int = 0
    failed_at: float | None = None
    failing_since: float | None = None
    last_failure: str = ""
    released_at: float | None = None
    held_until: float = 0.0
    ramp: int | None = None

    def after(self, outcome: Outcome, endpoint: Endpoint, now: float) -> "Health":
        """Return the health that one more outcome makes of this one."""
        if outcome.succeeded:
            return self._after_success(endpoint, now)
        if outcome.final:
            return self  # that is about the delivery: the endpoint was not asked
        failures = self.failures + 1
        failed_at = now if self.failed_at is None else self.failed_at
        failing = failures >= FAILING_AFTER
        held_until = max(self.held_until, now + (outcome.retry_after_s or 0.0))
        return replace(
            self,
            failures=failures,
            failed_at=failed_at,
            failing_since=failed_at if failing else None,
            last_failure=outcome.detail,
            # What is released is tried one at a time while it fails again, and released anew then.
            released_at=None if failing else self.released_at,
            held_until=held_until if outcome.retry_after_s else self.held_until,
            ramp=1 if failing else self.ramp,
        )

    def _after_success(self, endpoint: Endpoint, now: float) -> "Health":
        if self.failing_since is not None:
            # An attempt from before a Retry-After may succeed after it: it holds all the same.
            return Health(released_at=now, held_until=self.held_until, ramp=1)
        ramp = None if self.ramp is None else self.ramp * 2
        if ramp is not None and ramp >= endpoint.max_in_flight:
            ramp = None
        if ramp == self.ramp and self.failures == 0:
            return self
        return replace(self, failures=0, failed_at=None, last_failure="", ramp=ramp)

    @property
    def failing(self) -> bool:
        """Whether the endpoint counts as failing."""
        return self.failing_since is not None

    def allowed_in_flight(self, endpoint: Endpoint) -> int:
        """Return how many attempts may be under way at once."""
        limit = endpoint.max_in_flight
        return limit if self.ramp is None else min(self.ramp, limit)


def endpoint_name(url: str) -> str:
    """Return a URL as logs, `status` and relayd's own events show it: `https://host/…`.

    For many services the path is the secret. Endpoints of one host are told apart by the names of
    their subscriptions, which stand beside it.
    """
    parts = urlsplit(url)
    hidden = "" if parts.path in {"", "/"} and not parts.query else "…"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{hidden}"
