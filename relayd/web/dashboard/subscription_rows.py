"""Each subscription as it stands, of the document of `status` and the last day's attempts."""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from relayd.queue.overview_values import Hour, Overview
from relayd.queue.snapshot import Snapshot
from relayd.views.holds import HOLD_STATES
from relayd.web.dashboard.charts import spark


@dataclass(frozen=True, slots=True)
class Everything:
    """What a look at all subscriptions finds, at `now`, in Unix seconds; `hours` are by endpoint."""

    now: float
    overview: Overview
    hours: Mapping[str, Sequence[Hour]]

    def waiting(self, name: str) -> int | None:
        """Return the backlog of a subscription; None where the queue knows none of that name."""
        for endpoint in self.overview.endpoints:
            for each in endpoint.subscriptions:
                if each.name == name:
                    return each.waiting
        return None


def look_at_everything(snapshot: Snapshot) -> Everything:
    """Look. With many subscriptions it takes long."""
    now = time.time()
    return Everything(now, snapshot.overview(now=now, since=now - 86_400), snapshot.hours(now=now))


def subscription_rows(found: Everything, status: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a row for each, with what the document of `status` says."""
    for endpoint, document in zip(found.overview.endpoints, status["endpoints"], strict=True):
        day = document["last_day"]
        drawn = spark(found.hours.get(endpoint.url, ()), found.now)
        for standing, each in zip(endpoint.subscriptions, document["subscriptions"], strict=True):
            state = each["hold"] or document["state"]
            if state == "healthy" and document["failures"]:
                state = "last_failed"
            elif state == "healthy" and not day["attempts"]:
                state = "idle"
            yield {
                "name": each["name"],
                "url": document["url"],
                "state": state,
                "spark": drawn,
                "share": _share(day),
                "waiting": each["waiting"],
                "oldest": each["oldest_waiting_at_unix"],
                "exhausted": each["exhausted"],
                "p50": day["p50_ms"],
                "p95": day["p95_ms"],
                "waits": _waits(
                    document, each, None if standing.hold is None else HOLD_STATES[standing.hold]
                ),
                "next_at": each["next_attempt_at_unix"] if each["waiting"] else None,
                "tokens": None if document["tokens"] is None else int(document["tokens"]),
                "burst": document["burst"],
                "rate_limit": document["rate_limit"],
                "in_flight": document["in_flight"],
            }


def _share(day: Mapping[str, Any]) -> str:
    if day["success_rate"] is None:
        return "no attempts"
    # 100 % only where nothing failed.
    share = min(day["success_rate"] * 100, 100.0 if not day["failed"] else 99.9)
    return f"{share:.1f}".removesuffix(".0") + f" % of {day['attempts']:,}"


def _waits(endpoint: Mapping[str, Any], each: Mapping[str, Any], held: str | None) -> str:
    """Return what a subscription's backlog waits for, in a few words; its next attempt's time follows."""
    if held is not None:
        return held
    words = ""
    if endpoint["state"] == "failing" or endpoint["failures"]:
        words = f"{endpoint['last_failure'] or 'its last attempt failed'}; "
    if endpoint["held_until"] is not None:
        words = "held back by its answer, 429 or 503; "
    if not each["waiting"]:
        return words.removesuffix("; ") or "nothing pending"
    if each["behind"]:
        words += f"{each['behind']:,} behind others in their order; "
    return f"{words}next attempt"
