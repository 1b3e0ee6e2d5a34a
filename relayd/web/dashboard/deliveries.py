"""The list of deliveries, and the page of one: its attempts, and what comes next."""

from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from relayd.core.delivery import State
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import Page
from relayd.views.deliveries import event_document, page_document
from relayd.views.explanation import explain_event
from relayd.web.dashboard import filters
from relayd.web.dashboard.looking import Looking
from relayd.web.dashboard.site import Site
from relayd.web.dashboard.visitor import Visitor
from relayd.web.followed_document import document_of

EXTRA: Final = {
    "recovery": "extra: the endpoint had recovered",
    "operator": "extra: the operator released it",
}


class DeliveryPages:
    """Answers `/deliveries` and `/deliveries/ID`."""

    def __init__(self, site: Site, looking: Looking) -> None:
        self._site = site
        self._looking = looking

    async def list(self, request: Request, visitor: Visitor) -> Response:
        """List deliveries, newest first."""
        asked, wrong = filters.read(request.query_params)
        standing = await self._site.standing()

        def look(snapshot: Snapshot) -> tuple[Page, Any, Any]:
            wanted, problems = asked.deliveries(snapshot)
            page = Page((), more=False)
            if wanted is not None:
                page = snapshot.list_deliveries(wanted, filters.LIMIT)
            return page, problems, sorted(snapshot.subscriptions)

        page, problems, names = await self._site.look(look)
        in_flight = await self._looking.in_flight(standing, page.deliveries)
        return await self._site.render(
            visitor,
            "deliveries.html",
            standing,
            {
                "here": "/deliveries",
                "asked": asked,
                "problems": [*wrong, *problems],
                "names": names,
                "states": list(map(str, State)),
                "types": document_of(request).settings["event_types"],
                **page_document(page, in_flight),
            },
        )

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """Show one delivery."""
        identifier = request.path_params["id"]
        standing = await self._site.standing()
        event, circumstances = await self._looking.event(request, standing, identifier, None)
        delivery = event.deliveries[0].delivery if event.deliveries else None
        if delivery is None or delivery.id != identifier:
            raise self._looking.missing(identifier)
        [explained] = list(explain_event(event, None, circumstances))
        document: Any = event_document(event, circumstances.in_flight)
        [shown] = document["deliveries"]
        settings = document_of(request).settings["subscriptions"]
        attempts = {each["name"]: each["attempts"] for each in settings}
        return await self._site.render(
            visitor,
            "delivery.html",
            standing,
            {
                "here": "/deliveries",
                "event": document,
                "delivery": shown,
                "explained": explained,
                "extra": EXTRA,
                "most_attempts": attempts.get(shown["subscription"]),
            },
        )
