"""How often attempts to one endpoint may start: a token bucket that keeps its limit in any window.

A textbook bucket of capacity n, refilled with n tokens a period, lets 2n starts through in one
period. This one is sized so that what it holds and what it gains in a period add up to the
limit: in any half-open window of one period, at most `burst + refill * period <= limit` start.
Since that holds from any fill level, an *empty* bucket at start keeps the limit across restarts
with nothing to remember.
"""

from dataclasses import dataclass, replace
from typing import Self

_SLACK = 1.003
"""Periods are counted 0.3 % long, so that the network's jitter on the way to the receiver, which
counts arrivals and not starts, does not push one start too many into its window."""

_CLOCK_STEP_S = 1e-6
"""Added to each wait. A clock's reading is a float, and a step too small to change it would make
no token, nor let the time pass: the wait would be made again and again."""


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `limit` starts in any `period_s` seconds."""

    limit: int
    period_s: float

    @property
    def burst(self) -> int:
        """How many may start at once: a tenth of the limit up to 10, a hundredth above 1,000."""
        return max(1, min(self.limit // 10, 10), self.limit // 100)

    @property
    def refill_per_s(self) -> float:
        """Tokens gained a second: 90.7 a minute for 100/min, which leaves room for the burst."""
        return (self.limit - self.burst + 1) / (self.period_s * _SLACK)

    def __str__(self) -> str:
        units = {1.0: "s", 60.0: "min", 3600.0: "h", 86400.0: "d"}
        return f"{self.limit}/{units.get(self.period_s, f'{self.period_s:g}s')}"


@dataclass(frozen=True, slots=True)
class TokenBucket:
    """A fill level at a moment of a monotonic clock, in seconds. Operations return a new one."""

    rate: Rate
    tokens: float
    updated_at: float

    @classmethod
    def empty(cls, rate: Rate, now: float) -> Self:
        """Return the bucket to begin with: empty, since what started before is not known."""
        return cls(rate, 0.0, now)

    def at(self, now: float) -> Self:
        """Return the bucket as it stands at `now`. A clock that stepped back gains nothing."""
        if now <= self.updated_at:
            return self
        gained = (now - self.updated_at) * self.rate.refill_per_s
        return type(self)(self.rate, min(self.tokens + gained, self.rate.burst), now)

    @property
    def available(self) -> int:
        """Whole tokens, each of which lets one attempt start."""
        return int(self.tokens)

    def take(self, count: int) -> Self:
        """Return the bucket without `count` of its tokens."""
        if count > self.available:
            raise ValueError(f"{count} tokens taken from a bucket that holds {self.available}")
        return type(self)(self.rate, self.tokens - count, self.updated_at)

    @property
    def wait_s(self) -> float:
        """Seconds from `updated_at` until a whole token is there; waiting them once is enough."""
        if self.available:
            return 0.0
        return (1.0 - self.tokens) / self.rate.refill_per_s + _CLOCK_STEP_S

    def with_rate(self, rate: Rate, now: float) -> Self:
        """Return the bucket under another rate: a reload grants no tokens."""
        current = self.at(now)
        return replace(current, rate=rate, tokens=min(current.tokens, rate.burst))
