"""Tells a wall clock's step from its running, and which times in the queue a step makes wrong.

Times in the queue are wall-clock Unix seconds. When the clock is set (by NTP after a boot, by hand,
by a hypervisor), each wait that was decided before would end early or late by as much: an hour's
step forward would make an hour's retries due at once, a step back would stop them for an hour. So
the times move with the clock.
"""

from dataclasses import dataclass, replace

from relayd.core.endpoint import Health

STEP_S = 2.0
"""A smaller difference is followed and changes nothing: a leap second, or NTP slewing the clock."""

GAP_S = 86_400.0
"""After so long a pause at a start, each retry is due whatever its schedule was."""

_AFTER_S = 1.0
"""So soon after a step the queue has been read."""


@dataclass(frozen=True, slots=True)
class Sighting:
    """Both clocks at one moment: Unix seconds, and seconds of a clock that is never set."""

    wall: float
    steady: float

    @property
    def offset(self) -> float:
        """What is added to the steady clock to get the wall clock."""
        return self.wall - self.steady


def step_between(before: Sighting, now: Sighting) -> float:
    """Return the seconds by which the wall clock was set between two sightings, 0 for none."""
    moved = now.offset - before.offset
    return moved if abs(moved) >= STEP_S else 0.0


def step_since(newest: float, now: float) -> float:
    """Return the step that lies between the newest time in the queue and now, at a start.

    Both are Unix seconds. A clock that was set forward cannot be told from a long pause: then it is
    0, and the token buckets spread what is due. A clock that was set back can: times cannot lie
    ahead of it. How long relayd was down is not known, so no time is taken off for it.
    """
    return now - newest if newest > now + STEP_S else 0.0


def is_gap(seen_at: float | None, now: float) -> bool:
    """Tell whether the clock is `GAP_S` or more ahead of when it was last looked at, at a start.

    A clock that is a month ahead cannot be told from a month of rest, but both can
    be treated alike: each wait stays what it was. After a rest, retries go on with their schedule;
    where the clock is wrong, nothing fires, and once it is set right, they are as they were.
    """
    return seen_at is not None and now - seen_at >= GAP_S


def is_from_before(
    scheduled_at: float,
    step: float,
    stepped_at: float,
    *,
    now: float | None = None,
    certain: bool = True,
) -> bool:
    """Tell whether a retry's times move with a step, just after which it was `stepped_at`.

    `now` is later where the queue could not be used meanwhile. Those move that were scheduled by the
    clock before the step. After a step back, what has a time since then, to the second, is taken for new:
    if it is not, it is late by the step at most.

    Not `certain` is a step back soon after the start: the clock may have been wrong ever since the
    start, and what an earlier process scheduled, by a clock that was right, stays. All that is
    certain then is that what lies ahead of `now` was scheduled by the wrong one. The rest is late
    by the step at most, and never early.
    """
    latest = max(stepped_at, stepped_at if now is None else now) + _AFTER_S
    if step > 0:
        return scheduled_at <= stepped_at - step
    if not certain:
        return scheduled_at > latest
    return not stepped_at <= scheduled_at <= latest


def moved_health(health: Health, step: float) -> Health:
    """Return an endpoint's health with its times moved by a step."""

    def moved(moment: float | None) -> float | None:
        return None if moment is None else moment + step

    return replace(
        health,
        recent=tuple(moment and moment + round(step) for moment in health.recent),
        failed_since=moved(health.failed_since),
        failing_since=moved(health.failing_since),
        succeeded_at=moved(health.succeeded_at),
        released_at=moved(health.released_at),
        held_until=health.held_until + step if health.held_until else 0.0,
    )
