"""An endpoint's limits, and its health: what its last attempts showed.

Two rules, each with its own memory. The *ramp* protects the receiver: after three failures in a row
an endpoint gets one attempt at a time, and each success doubles that until the endpoint's limit.
The *state* informs the operator: an endpoint is failing while half or more of its last attempts
failed, in a spell of a minute or more, and has recovered when a success is followed by a minute without a
failure. So a receiver that fails in part is reported once, and lucky successes release nothing.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal
from urllib.parse import urlsplit

from relayd.core.outcome import Outcome
from relayd.core.smtp import Smtp, is_mailto, shown_mailto
from relayd.core.tls import Tls
from relayd.core.token_bucket import Rate

ONE_AT_A_TIME_AFTER = 3
"""Failures in a row after which an endpoint gets one attempt at a time."""

RECENT = 20
"""So many attempts decide whether an endpoint is failing, or all of them where there were fewer."""

FAILING_AFTER = 3
"""So many of them must have failed. One event that a healthy receiver always refuses does not make
it failing."""

FAILING_AFTER_S = 60.0
"""So long a spell of failures must have lasted: see `Health.failed_since`."""

RECOVERED_AFTER_S = 60.0
"""So long after a success there must be no failure."""

THROTTLED_S = 30.0
"""A 429 that names no time holds the endpoint back for so long, twice as long each time in a row."""

MAX_THROTTLED_S = 600.0

LONG_HOLD_S = 600.0
"""A longer hold is reported."""


IpVersion = Literal[4, 6]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """A URL that receives deliveries, with what its subscriptions share.

    `ip` is the one family of addresses that is dialled; None dials both. `tls` is None where the
    public authorities are trusted and no client certificate is sent. `smtp` is the mail server that
    delivers to a mailto URL, None for others.
    """

    url: str = field(repr=False)  # its path may be a secret
    rate: Rate
    max_in_flight: int
    ip: IpVersion | None = None
    tls: Tls | None = None
    smtp: Smtp | None = None

    def is_reached_as(self, other: "Endpoint") -> bool:
        """Tell whether a connection to one may serve the other, too."""
        return (self.url, self.ip, self.tls, self.smtp) == (
            other.url,
            other.ip,
            other.tls,
            other.smtp,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What the last attempts showed of an endpoint. All times are Unix seconds.

    `failures` counts those in a row. `recent` has the last attempts, oldest first: when each failed,
    in whole seconds, or 0 where it succeeded. `failed_since` is the first failure of the present
    spell. A spell is noticed when half or more of those failed; it ends with a success that no
    failure follows for `RECOVERED_AFTER_S`, as failing does, and when fewer than three of those
    failed. `failing_since` is set once the endpoint is failing: the first failure of the spell that
    made it so, or of several (see `_spells`).
    `reported` tells that an event said so. `succeeded_at` is the first success after the last
    failure, while the endpoint is failing.

    `release` numbers the last recovery (see `core.release`), `released_at` is when it came; 0 and
    None where there was none, or the endpoint has failed again since. No attempt starts before
    `held_until`; `throttled` counts the 429s in a row that named no time. `ramp` is the number of
    attempts allowed at once; None leaves it to the limit.
    """

    failures: int = 0
    recent: tuple[int, ...] = ()
    failed_since: float | None = None
    failing_since: float | None = None
    reported: bool = False
    succeeded_at: float | None = None
    last_failure: str = ""
    release: int = 0
    released_at: float | None = None
    held_until: float = 0.0
    throttled: int = 0
    ramp: int | None = None

    def after(
        self, outcome: Outcome, endpoint: Endpoint, now: float, *, own_event: bool = False
    ) -> "Health":
        """Return the health that one more outcome makes of this one.

        What happens to one of relayd's own events (`own_event`) is not reported by another one.
        """
        if outcome.final:
            return self  # that is about the delivery: the endpoint was not asked
        if outcome.succeeded:
            return self._after_success(endpoint, now)
        return self._after_failure(outcome, now, own_event=own_event)

    def _after_failure(self, outcome: Outcome, now: float, *, own_event: bool) -> "Health":
        failures = self.failures + 1
        recent = (*self.recent, int(now))[-RECENT:]
        failed = [moment for moment in recent if moment]
        half = 2 * len(failed) >= len(recent)
        failed_since, failing_since = self.failed_since, self.failing_since
        if failing_since is None and (half or failed_since is not None):
            spells = _spells(recent)
            # The window may be shorter than a spell: then its beginning is what was noted.
            if len(spells) > 1 or failed_since is None:
                failed_since = float(spells[-1])
            if half and len(failed) >= FAILING_AFTER:
                if now - failed_since >= FAILING_AFTER_S:
                    failing_since = failed_since
                elif len(spells) >= max(FAILING_AFTER, recent.count(0)):
                    failing_since = float(spells[0])
        began = failing_since is not None and self.failing_since is None
        held_until, throttled = self._hold(outcome, now)
        return replace(
            self,
            failures=failures,
            recent=recent,
            failed_since=failed_since,
            failing_since=failing_since,
            reported=self.reported or (failing_since is not None and not own_event),
            succeeded_at=None,
            last_failure=outcome.detail,
            # What was released and not tried yet keeps its time: it is released again then.
            release=0 if began else self.release,
            released_at=None if began else self.released_at,
            held_until=held_until,
            throttled=throttled,
            ramp=1 if failures >= ONE_AT_A_TIME_AFTER else self.ramp,
        )

    def _hold(self, outcome: Outcome, now: float) -> tuple[float, int]:
        """Return `held_until` and `throttled` after a failure.

        A Retry-After of 0 names no time: a receiver that sends one with each 429 is not heard
        less. What was under way when a hold began says nothing new: eight 429s at once are one.
        """
        if outcome.retry_after_s:
            return max(self.held_until, now + outcome.retry_after_s), self.throttled
        if self.held_until > now:
            return self.held_until, self.throttled
        if outcome.status != 429:
            return self.held_until, 0
        wait_s = min(THROTTLED_S * 2.0**self.throttled, MAX_THROTTLED_S)
        # Six in a row are as long as any: the count need not grow with the years.
        return now + wait_s, min(self.throttled + 1, 8)

    def _after_success(self, endpoint: Endpoint, now: float) -> "Health":
        recent = (*self.recent, 0)[-RECENT:]
        ramp = None if self.ramp is None else self.ramp * 2
        if ramp is not None and ramp >= endpoint.max_in_flight:
            ramp = None
        failing = self.failing_since is not None
        succeeded_at = self.succeeded_at
        if failing and succeeded_at is None:
            succeeded_at = now
        if (
            recent == self.recent
            and self.failures == 0
            and ramp == self.ramp
            and succeeded_at == self.succeeded_at
            and not self.throttled
        ):
            return self
        failed = sum(moment > 0 for moment in recent)
        # Not as soon as fewer than half failed: at random, half is never half for a minute.
        ended = failed < FAILING_AFTER and 2 * failed < len(recent)
        return replace(
            self,
            failures=0,
            recent=recent,
            failed_since=None if ended else self.failed_since,
            succeeded_at=succeeded_at,
            last_failure=self.last_failure if failing else "",
            # It may answer an attempt that began before the hold: that goes on all the same.
            throttled=self.throttled if self.held_until > now else 0,
            ramp=ramp,
        )

    def recovered(self, release: int, now: float) -> "Health":
        """Return the health of an endpoint that has recovered: see `recovers_at`.

        `release` is the number of the release of what waits for it.
        """
        last = max((i for i, moment in enumerate(self.recent) if moment), default=-1)
        return Health(
            recent=self.recent[last + 1 :],
            release=release,
            released_at=now,
            held_until=self.held_until,
            throttled=self.throttled,
            ramp=1,
        )

    def after_test(self, now: float) -> "Health":
        """Return the health after a successful attempt past the queue.

        It lifts a hold, and is a success like others where the endpoint is failing, but it is not
        one of its attempts: a sample proves less.
        """
        succeeded_at = self.succeeded_at
        if self.failing and succeeded_at is None:
            succeeded_at = now
        return replace(self.not_held(), succeeded_at=succeeded_at)

    def not_held(self) -> "Health":
        """Return the health with no hold: the operator lifted it."""
        return replace(self, held_until=0.0, throttled=0)

    def on_ramp(self) -> "Health":
        """Return the health with one attempt at a time, from where each success doubles it."""
        return replace(self, ramp=1)

    @property
    def failing(self) -> bool:
        """Whether the endpoint counts as failing."""
        return self.failing_since is not None

    @property
    def recovers_at(self) -> float:
        """When it has recovered, if no attempt fails until then; infinity while none succeeded."""
        if self.failing_since is None or self.succeeded_at is None:
            return math.inf
        return self.succeeded_at + RECOVERED_AFTER_S

    @property
    def failed_of_recent(self) -> int:
        """How many of the last attempts failed."""
        return sum(moment > 0 for moment in self.recent)

    def held_long(self, now: float) -> bool:
        """Whether it is held back for so long from `now` on that this is reported."""
        return self.held_until - now > LONG_HOLD_S

    def allowed_in_flight(self, endpoint: Endpoint) -> int:
        """Return how many attempts may be under way at once."""
        limit = endpoint.max_in_flight
        return limit if self.ramp is None else min(self.ramp, limit)


def _spells(recent: Sequence[int]) -> list[int]:
    """Return the first failure of each spell among the last attempts, oldest first.

    A success and a minute without a failure lie between two spells, so that a burst of failures
    does not make a lone one of yesterday the beginning of anything. An endpoint of few events may
    fail in short spells only: it is failing where the spells, each counted once, are half or more.
    """
    firsts: list[int] = []
    last, succeeded = 0, True
    for moment in recent:
        if moment:
            if not firsts or (succeeded and moment - last >= RECOVERED_AFTER_S):
                firsts.append(moment)
            last = moment
        succeeded = not moment
    return firsts


def endpoint_name(url: str) -> str:
    """Return a URL as logs, `status` and relayd's own events show it: `https://host/…`, or `mailto:…@host`.

    For many services the path is the secret. Endpoints of one host are told apart by the names of
    their subscriptions, which stand beside it.
    """
    if is_mailto(url):
        return shown_mailto(url)
    parts = urlsplit(url)
    hidden = "" if parts.path in {"", "/"} and not parts.query else "…"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}/{hidden}"
