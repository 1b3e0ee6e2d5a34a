"""The overview: is all well? The sentence of `status`, and each subscription as it stands."""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from relayd.config.values import format_size
from relayd.queue.overview_values import Hour, Overview
from relayd.queue.snapshot import Snapshot
from relayd.views.in_force import in_force_words
from relayd.views.status import status_document
from relayd.web.dashboard.site import Site
from relayd.web.dashboard.subscription_rows import subscription_rows
from relayd.web.dashboard.visitor import Visitor

MOST: Final = 100
"""Subscriptions on the page at first, worst first."""

_ORDER: Final = {"failing": 0, "gone": 1, "waiting": 2, "paused": 3, "removed": 4, "inactive": 5}


class OverviewPage:
    """Answers `/`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._look = site.kept_look(_look)

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """Show how everything stands."""
        standing = await self._site.standing()
        now, overview, hours = await self._look()
        status: Any = status_document(
            overview,
            standing.live,
            "",
            now,
            absence=standing.absence,
            in_force=standing.in_force,
        )
        rows = sorted(subscription_rows(overview, status, hours, now), key=_urgency)
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
            },
        )


def _look(snapshot: Snapshot) -> tuple[float, Overview, Mapping[str, Sequence[Hour]]]:
    now = time.time()
    return now, snapshot.overview(now=now, since=now - 86_400), snapshot.hours(now=now)


def _mood(concerns: Sequence[Mapping[str, Any]]) -> str:
    if not concerns:
        return "good"
    return "bad" if any(each["alarm"] for each in concerns) else "warn"


def _urgency(row: Mapping[str, Any]) -> tuple[int, int, str]:
    return (_ORDER.get(row["state"], 6), -row["waiting"], row["name"])
