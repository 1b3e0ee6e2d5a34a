"""The overview: is all well? The sentence of `status`, and each subscription as it stands."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from relayd.config.values import format_size
from relayd.queue.overview_values import Hour, Overview
from relayd.queue.snapshot import Snapshot
from relayd.views.holds import HOLD_STATES
from relayd.views.in_force import in_force_words
from relayd.views.status import status_document
from relayd.web.dashboard.charts import spark
from relayd.web.dashboard.site import Site
from relayd.web.dashboard.visitor import Visitor
from relayd.web.in_force import in_force_of
from relayd.web.webhook_counts import WebhookCounts

MOST: Final = 100
"""Subscriptions on the page at first, worst first."""

_ORDER: Final = {"failing": 0, "gone": 1, "waiting": 2, "paused": 3, "removed": 4, "inactive": 5}


class OverviewPage:
    """Answers `/`."""

    def __init__(self, site: Site, webhooks: WebhookCounts) -> None:
        self._site = site
        self._webhooks = webhooks

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """Show how everything stands."""
        standing = await self._site.standing()
        now = time.time()

        def look(snapshot: Snapshot) -> tuple[Overview, Mapping[str, Sequence[Hour]]]:
            return snapshot.overview(now=now, since=now - 86_400), snapshot.hours(now=now)

        overview, hours = await self._site.look(look)
        status: Any = status_document(
            overview,
            standing.live,
            "",
            now,
            absence=standing.absence,
            in_force=standing.in_force,
        )
        rows = sorted(_rows(overview, status, hours, now), key=_urgency)
        shown = rows if request.query_params.get("all") else rows[:MOST]
        return await self._site.render(
            visitor,
            "overview.html",
            standing,
            {
                "here": "/",
                "status": status,
                "mood": _mood(status["concerns"]),
                "not_in_force": list(in_force_words(standing.in_force)),
                "size": format_size(status["queue"]["size_bytes"]),
                "rows": shown,
                "more": len(rows) - len(shown),
                "sources": status["sources"] or [],
                "inbound": self._inbound(request),
            },
        )

    def _inbound(self, request: Request) -> list[dict[str, Any]]:
        """Return what became of the webhooks of each entry since the web process started."""
        entries = in_force_of(request).inbound
        counts = self._webhooks.of(entries)
        return [
            {"name": name, "provider": entry.provider.value, "counts": counts[name]}
            for name, entry in entries.items()
        ]


def _mood(concerns: Sequence[Mapping[str, Any]]) -> str:
    if not concerns:
        return "good"
    return "bad" if any(each["alarm"] for each in concerns) else "warn"


def _urgency(row: Mapping[str, Any]) -> tuple[int, int, str]:
    return (_ORDER.get(row["state"], 6), -row["waiting"], row["name"])


def _rows(
    overview: Overview,
    status: Mapping[str, Any],
    hours: Mapping[str, Sequence[Hour]],
    now: float,
) -> Iterator[dict[str, Any]]:
    for endpoint, document in zip(overview.endpoints, status["endpoints"], strict=True):
        day = document["last_day"]
        drawn = spark(hours.get(endpoint.url, ()), now)
        for standing, each in zip(endpoint.subscriptions, document["subscriptions"], strict=True):
            state = each["hold"] or document["state"]
            if state == "healthy" and not day["attempts"] and not document["failures"]:
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
