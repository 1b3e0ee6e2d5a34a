"""What an endpoint's task shows of itself: to the operator, and to the watchdog."""

from dataclasses import dataclass

from relayd.core.endpoint import Endpoint, Health
from relayd.queue.values import Want


@dataclass(frozen=True, slots=True)
class Standing:
    """How an endpoint stands: attempts left in its bucket and under way, its limits and health."""

    tokens: float
    in_flight: int
    endpoint: Endpoint
    health: Health


@dataclass(frozen=True, slots=True)
class Pulse:
    """What shows whether a task goes on: see `watchdog`.

    `rounds` counts how often its loop went round. `waits` says that it believes that nothing is
    due; `want` asks the queue whether that is so. `moved_at` is when that delivery under way moved
    on last for which it is the longest ago, on trio's clock; None without any.
    """

    rounds: int
    waits: bool
    want: Want
    moved_at: float | None
