"""The page of one subscription: how it stands, what it is, and what can be done with it."""

from collections.abc import Awaitable, Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from relayd.views.status import status_document
from relayd.web.dashboard.acting import no_subscription
from relayd.web.dashboard.site import Site
from relayd.web.dashboard.subscription_rows import Everything, subscription_rows
from relayd.web.dashboard.visitor import Visitor
from relayd.web.followed_document import document_of
from relayd.web.problem import ProblemError


class SubscriptionPage:
    """Answers `/subscriptions/NAME`."""

    def __init__(self, site: Site, look: Callable[[], Awaitable[Everything]]) -> None:
        self._site = site
        self._look = look

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """Show it. One that was removed from the configuration is shown as long as the queue knows it."""
        name = request.path_params["name"]
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
        rows = subscription_rows(found, status)
        row = next((each for each in rows if each["name"] == name), None)
        settings = document_of(request).settings
        known = [each for each in settings["subscriptions"] if each["name"] == name]
        if row is None and not known:
            missing = no_subscription(name)
            raise ProblemError(missing.status, "not_found", " ".join(missing.reasons))
        return await self._site.render(
            visitor,
            "subscription.html",
            standing,
            {
                "here": "/",
                "name": name,
                "row": row,
                "each": known[0] if known else None,
                "own_file": bool(known) and known[0]["file"] != settings["config"],
            },
        )
