"""The time that expiry goes by: the wall clock, once there is reason to believe it.

What expires (history, the memory of ids, rejected input, statistics) is gone for good, and a clock
can be wrong: a machine that boots before its time is set may be 31 or 400 days ahead for some
seconds. So expiry has a time of its own, which the queue remembers. It follows the wall clock in
small strides. It stands still for 10 minutes after the clock was set, and, where the clock is more
than an hour ahead of it (relayd was down, or the clock is wrong), until the clock has been steady
for an hour. Then it catches up by at most a day's worth in one pass, so that somebody who reads the
warning can still act.
"""

from dataclasses import dataclass
from typing import Final

STRIDE_S: Final = 3_600.0
"""So far it follows at once: passes come every 5 minutes, and a restart takes less."""
AFTER_STEP_S: Final = 600.0
TRUSTED_S: Final = 3_600.0
CATCH_UP_S: Final = 86_400.0


@dataclass(frozen=True, slots=True)
class Steadiness:
    """For how many seconds the clock has run evenly, and whether it was set before that.

    Without `stepped`, it counts from relayd's start.
    """

    seconds: float
    stepped: bool


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the queue knows of time, in Unix seconds.

    `expired_at` is where expiry stands, None before the first time. `newest` and `oldest` are when
    the newest and oldest of what is kept came, None where nothing is.
    """

    expired_at: float | None
    newest: float | None
    oldest: float | None


@dataclass(frozen=True, slots=True)
class Expiry:
    """What one pass does.

    `stands_at` is to be remembered. What is older than `horizon` minus its retention may go.
    `waits_s` is how long the clock must still be steady, 0 where it is believed; `ahead_s` how far
    it is ahead of `stands_at`.
    """

    stands_at: float
    horizon: float
    waits_s: float
    ahead_s: float


def decide(now: float, steady: Steadiness, evidence: Evidence, *, retention_s: float) -> Expiry:
    """Return what a pass may remove. `now` is the wall clock's time."""
    stood = evidence.expired_at
    if stood is None:
        stood = now if evidence.newest is None else min(now, evidence.newest)
    ahead = now - stood
    needed = TRUSTED_S if abs(ahead) > STRIDE_S else AFTER_STEP_S if steady.stepped else 0.0
    if steady.seconds < needed:
        return Expiry(stood, min(now, stood), needed - steady.seconds, max(0.0, ahead))
    if ahead <= STRIDE_S:
        # Behind it, too: it was ahead once, or was never right. Nothing expires by standing there.
        return Expiry(now, now, 0.0, 0.0)
    # Where nothing is kept that could expire, there is nothing to go slowly for.
    begins = now if evidence.oldest is None else max(stood, evidence.oldest + retention_s)
    stands_at = min(now, begins + CATCH_UP_S)
    return Expiry(stands_at, stands_at, 0.0, now - stands_at)
