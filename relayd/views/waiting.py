"""What a delivery waits for, in plain words."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from relayd.core.conditions import shown
from relayd.core.delivery import State
from relayd.core.endpoint import Endpoint, Health
from relayd.core.hold import Hold
from relayd.queue.snapshot_values import ListedDelivery, Place
from relayd.views.deliveries import InFlight
from relayd.views.moments import about, clock_time


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What bears on deliveries that wait.

    `due` counts what is due at each URL. `in_flight` has what is being attempted, by the
    deliveries' numbers; None where that is not known. `holds` has the subscriptions that the daemon
    knows, with what holds each. `to_reload`: what is on disk is known not to be what is in force.
    """

    running: bool
    health: Mapping[str, Health]
    due: Mapping[str, int]
    urls: Mapping[str, str]
    endpoints: Mapping[str, Endpoint]
    in_flight: Mapping[int, InFlight] | None
    now: float
    holds: Mapping[str, Hold | None] = field(default_factory=dict)
    to_reload: bool = False

    def with_in_flight(self, in_flight: Mapping[int, InFlight] | None) -> "Circumstances":
        """Return these with what is being attempted."""
        return replace(self, in_flight=in_flight)


def waits_for(delivery: ListedDelivery, circumstances: Circumstances) -> str:
    """Return what a delivery waits for that is neither held nor in flight."""
    now = circumstances.now
    url = circumstances.urls.get(delivery.subscription, "")
    health = circumstances.health.get(url, Health())
    if not circumstances.running:
        return "relayd is not running, so nothing is sent"
    if delivery.place is not None and delivery.place.behind is not None:
        return _turn_words(delivery.place)
    # Due later than that, it waits for its own time, which is what comes next.
    if health.held_until > now and (delivery.due_at or 0.0) <= health.held_until:
        return (
            f"its endpoint answered 429 or 503 and is held back until"
            f" {clock_time(health.held_until)} (in {about(health.held_until - now)});"
            f" `relayd retry {delivery.subscription}` lifts that"
        )
    if delivery.due_at is not None and delivery.due_at > now:
        return (
            f"its next attempt is due at {clock_time(delivery.due_at)}"
            f" (in {about(delivery.due_at - now)})"
            + (
                ", or when its endpoint, which is failing, has recovered"
                if _recovery_releases(delivery, health)
                else ""
            )
            + f"; `relayd retry {delivery.id}` makes it now"
        )
    due = circumstances.due.get(url, 1)
    words = f"it is due, one of {due:,} at its receiver" if due > 1 else "it is due now"
    if circumstances.in_flight is None:
        words += ", or its attempt is in flight"
    if health.failing_since is not None:
        words += (
            f", which is failing since {clock_time(health.failing_since)} and tried with one"
            " attempt at a time"
        )
        return words
    endpoint = circumstances.endpoints.get(url)
    if due > 1 and endpoint is not None:
        wait_s = due / endpoint.rate.refill_per_s
        words += f"; the rate limit of {endpoint.rate} lets all of them go in {about(wait_s)}"
    return words


def _turn_words(place: Place) -> str:
    """Return what a delivery is behind, and which one has its turn."""
    words = f"its turn comes after {place.behind}, with the same {key_words(place)}"
    if place.first != place.behind:
        words += f"; the first of them is {place.first}"
    return f"{words}: `relayd explain {place.first}` says what that waits for"


def key_words(place: Place) -> str:
    """Return the value by which a delivery is in an order."""
    return f"order_by value, {shown(place.key)}"


def _recovery_releases(delivery: ListedDelivery, health: Health) -> bool:
    """Tell whether the recovery of its endpoint would give a retry an attempt before its time."""
    retrying = delivery.state is State.RETRYING
    return health.failing and retrying and not delivery.recovery_used
