"""How everything stands, as the document of `status`.

The keys are part of the contract. Each time stands twice: in ISO 8601 (UTC), and under the same key
with `_unix` in Unix seconds.
"""

from collections.abc import Mapping
from typing import Any, Final

from relayd.core.absence import Absence
from relayd.core.endpoint import endpoint_name
from relayd.core.hold import Hold
from relayd.core.summary import PATIENCE_S, Facts, concerns, summary
from relayd.queue.overview_values import (
    EndpointStanding,
    InboundStanding,
    Overview,
    SubscriptionStanding,
    Tally,
)
from relayd.views.in_force import Answer, in_force_document, not_in_force
from relayd.views.moments import moment_fields
from relayd.views.rejected import removed_document

Live = Mapping[str, Any]
"""What the daemon said of itself: see `relayd.commands`."""

_NOTHING_CAME: Final = InboundStanding()


def is_running(absence: Absence | None) -> bool | None:
    """Return whether the daemon runs; None where that is not known, since this user may not ask."""
    if absence is Absence.NOT_PERMITTED:
        return None
    return absence is not Absence.NOT_RUNNING


def facts_of(
    overview: Overview,
    live: Live | None,
    now: float,
    *,
    absence: Absence = Absence.NOT_RUNNING,
    in_force: Answer | None = None,
) -> Facts:
    """Return what the summary is made of. `in_force` is the daemon's answer to that command."""
    endpoints = overview.endpoints
    subscriptions = [each for endpoint in endpoints for each in endpoint.subscriptions]
    sources = () if live is None else live["sources"]
    return Facts(
        absence=absence if live is None else None,
        endpoints=len(endpoints),
        failing=sum(endpoint_state(each, now) == "failing" for each in endpoints),
        waiting_sources=tuple(
            each["name"]
            for each in sources
            if each["waits_for"] is not None and each.get("waited_s", 0.0) >= PATIENCE_S
        ),
        reserve_in_use=live is not None and live["queue"].get("reserve_in_use", False),
        exhausted=sum(each.exhausted for each in subscriptions),
        exhausted_since=sum(each.exhausted_since for each in subscriptions),
        gone=tuple(each.name for each in subscriptions if each.hold is Hold.GONE),
        held=sum(each.waiting for each in subscriptions if each.hold not in {None, Hold.GONE}),
        held_back=sum(endpoint_state(each, now) == "waiting" for each in endpoints),
        troubled=sum(
            endpoint_state(each, now) == "healthy" and each.health.failures > 0
            for each in endpoints
        ),
        rejected=overview.queue.rejected,
        rejected_since=overview.queue.rejected_since,
        not_in_force=not_in_force(in_force),
        pending=overview.queue.waiting,
        unheld=sum(each.waiting for each in subscriptions if each.hold is None),
    )


def status_document(
    overview: Overview,
    live: Live | None,
    path: str,
    now: float,
    *,
    absence: Absence = Absence.NOT_RUNNING,
    in_force: Answer | None = None,
) -> object:
    """Return how everything stands; what only a daemon that answers knows is null without one.

    `absence` says why nothing is `live`. `in_force` is the daemon's answer to that command.
    """
    queue = overview.queue
    facts = facts_of(overview, live, now, absence=absence, in_force=in_force)
    return {
        "summary": summary(facts),
        "concerns": [
            {"code": each.code, "words": each.words, "alarm": each.alarm}
            for each in concerns(facts)
        ],
        "configuration": in_force_document(in_force),
        "running": True if live is not None else is_running(absence),
        "daemon": None
        if live is None
        else {
            "version": live["version"],
            "pid": live["pid"],
            "config": live["config"],
            **moment_fields("started_at", live["started_at"]),
            "uptime_s": round(live["uptime_s"], 1),
            # A subscription whose attempts wait until `rename` has handed its backlog over to it.
            "kept_back": live.get("kept_back"),
        },
        "endpoints": [_endpoint_document(each, live, now) for each in overview.endpoints],
        "sources": None if live is None else live["sources"],
        "inbound": [_inbound_document(*each) for each in inbound_standings(overview, live)],
        "queue": {
            "path": path,
            "size_bytes": queue.size_bytes,
            "free_bytes": queue.free_bytes,
            "contents_bytes": {
                "events": queue.contents.events,
                "attempts": queue.contents.attempts,
                "rejected": queue.contents.rejected,
                "other": queue.contents.other,
            },
            "max_size_bytes": None if live is None else live["queue"]["max_size_bytes"],
            "too_large": None if live is None else live["queue"]["too_large"],
            **moment_fields("oldest_event_at", queue.oldest_event_at),
            "deliveries": queue.deliveries,
            "waiting": queue.waiting,
            "rejected": queue.rejected,
            "rejected_removed": [removed_document(each) for each in queue.removed],
        },
    }


def inbound_standings(
    overview: Overview, live: Live | None
) -> list[tuple[str, bool | None, InboundStanding]]:
    """Return each entry of `inbound:` by name, and what came of its webhooks.

    Those of the configuration come first, in its order, and then those that only the queue knows. The second
    value says whether it is configured, None where that is not known.
    """
    configured = None if live is None else [each["name"] for each in live.get("inbound", ())]
    known = {each.removeprefix("inbound "): found for each, found in overview.inbound.items()}
    names = dict.fromkeys([*(configured or ()), *known])
    return [
        (name, None if configured is None else name in configured, known.get(name, _NOTHING_CAME))
        for name in names
    ]


def _inbound_document(
    name: str, configured: bool | None, found: InboundStanding
) -> dict[str, object]:
    number, rejected_at, code = found.last_rejected or (None, None, None)
    return {
        "name": name,
        "configured": configured,
        "accepted": found.accepted,
        "accepted_last_day": found.accepted_last_day,
        "accepted_last_day_at_least": found.at_least,
        **moment_fields("last_accepted_at", found.last_accepted_at),
        "rejected": found.rejected,
        "rejected_last_day": found.rejected_last_day,
        "last_rejected": number,
        "last_rejected_code": code,
        **moment_fields("last_rejected_at", rejected_at),
    }


def _endpoint_document(
    endpoint: EndpointStanding, live: Live | None, now: float
) -> dict[str, object]:
    health = endpoint.health
    held_until = health.held_until if health.held_until > now else None
    bucket = bucket_of(endpoint, live)
    return {
        "url": endpoint_name(endpoint.url),
        "state": endpoint_state(endpoint, now),
        **moment_fields("failing_since", health.failing_since),
        "failures": health.failures,
        "last_attempts": len(health.recent),
        "last_attempts_failed": health.failed_of_recent,
        "last_failure": health.last_failure or None,
        **moment_fields("held_until", held_until),
        "tokens": None if bucket is None else round(bucket["tokens"], 2),
        "burst": None if bucket is None else bucket["burst"],
        "rate_limit": None if bucket is None else bucket["rate_limit"],
        "in_flight": None if bucket is None else bucket["in_flight"],
        "allowed_in_flight": None if bucket is None else bucket["allowed_in_flight"],
        "subscriptions": [standing_document(each) for each in endpoint.subscriptions],
        "last_hour": _tally_document(endpoint.tallies.last_hour),
        "last_day": _tally_document(endpoint.tallies.last_day),
    }


def standing_document(each: SubscriptionStanding) -> dict[str, object]:
    """Return how one subscription stands."""
    return {
        "name": each.name,
        "hold": each.hold,
        "waiting": each.waiting,
        "exhausted": each.exhausted,
        "behind": each.behind,
        "blocking": each.blocking,
        **moment_fields("oldest_waiting_at", each.oldest_accepted_at),
        **moment_fields("next_attempt_at", each.next_due_at),
    }


def _tally_document(tally: Tally) -> dict[str, object]:
    rate = tally.success_rate
    return {
        "attempts": tally.attempts,
        "delivered": tally.delivered,
        "failed": tally.failed,
        "exhausted": tally.exhausted,
        "success_rate": None if rate is None else round(rate, 4),
        "p50_ms": _milliseconds(tally, 0.5),
        "p95_ms": _milliseconds(tally, 0.95),
    }


def _milliseconds(tally: Tally, quantile: float) -> float | None:
    response_s = tally.response_s(quantile)
    return None if response_s is None else round(response_s * 1000, 1)


def endpoint_state(endpoint: EndpointStanding, now: float) -> str:
    """Return `held`, `failing`, `waiting` (held back by a 429 or 503) or `healthy`."""
    if all(each.hold is not None for each in endpoint.subscriptions):
        return "held"
    if endpoint.health.failing:
        return "failing"
    return "waiting" if endpoint.health.held_until > now else "healthy"


def bucket_of(endpoint: EndpointStanding, live: Live | None) -> Mapping[str, Any] | None:
    """Return what the running daemon says of an endpoint's bucket; None without one."""
    found: Mapping[str, Any] | None = None if live is None else live["endpoints"].get(endpoint.url)
    return found
