"""The overview: is all well? The sentence of `status`, and each subscription as it stands."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from relayd.config.values import format_size
from relayd.views.in_force import in_force_words
from relayd.views.status import status_document
from relayd.web.dashboard.site import Site
from relayd.web.dashboard.subscription_rows import Everything, subscription_rows
from relayd.web.dashboard.visitor import Visitor
from relayd.web.followed_document import document_of
from relayd.web.webhook_counts import WebhookCounts

MOST: Final = 100
"""Subscriptions on the page at first, worst first."""

_ORDER: Final = {
    "failing": 0,
    "gone": 1,
    "waiting": 2,
    "last_failed": 3,
    "paused": 4,
    "removed": 5,
    "inactive": 6,
}


class OverviewPage:
    """Answers `/`."""

    def __init__(
        self, site: Site, look: Callable[[], Awaitable[Everything]], webhooks: WebhookCounts
    ) -> None:
        self._site = site
        self._look = look
        self._webhooks = webhooks

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """Show how everything stands."""
        standing = await self._site.standing()
        found = await self._look()
        status: Any = status_document(
            found.overview,
            standing.live,
            "",
            found.now,
            absence=standing.absence,
            in_force=standing.in_force,
        )
        rows = sorted(subscription_rows(found, status), key=_urgency)
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
        entries = document_of(request).inbound
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
    return (_ORDER.get(row["state"], len(_ORDER)), -row["waiting"], row["name"])
