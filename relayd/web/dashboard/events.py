"""The list of events, the page of one, and its body as text."""

from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlencode

from starlette.requests import Request
from starlette.responses import PlainTextResponse, RedirectResponse, Response

from relayd.core.shown_json import json_printable
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import EventPage, SeveralMarketsError
from relayd.views.deliveries import event_document
from relayd.views.events import became_of, event_page_document
from relayd.views.explanation import explain_event, explanation_document
from relayd.web.dashboard import filters
from relayd.web.dashboard.looking import Looking
from relayd.web.dashboard.site import Site
from relayd.web.dashboard.visitor import Visitor
from relayd.web.dashboard.wanted import wanted_of
from relayd.web.followed_document import document_of


class EventPages:
    """Answers `/events`, `/events/ID` and `/find`."""

    def __init__(self, site: Site, looking: Looking) -> None:
        self._site = site
        self._looking = looking

    async def list(self, request: Request, visitor: Visitor) -> Response:
        """List accepted events, newest first."""
        asked, wrong = filters.read(request.query_params)
        standing = await self._site.standing()

        def look(snapshot: Snapshot) -> tuple[EventPage, Any]:
            wanted, problems = asked.events(snapshot)
            return snapshot.list_events(wanted, filters.LIMIT), problems

        page, problems = await self._site.look(look)
        last = page.last
        return await self._site.render(
            visitor,
            "events.html",
            standing,
            {
                "here": "/events",
                "asked": asked,
                "problems": [*wrong, *problems],
                "became": list(map(became_of, page.events)),
                "types": document_of(request).settings["event_types"],
                **event_page_document(page),
                "looked_to": page.looked_to,
                "older_before": None if last is None else f"{last.id}@{last.market_id}",
            },
        )

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """Show one event, and what each subscription did with it."""
        identifier, market = request.path_params["id"], request.query_params.get("market")
        standing = await self._site.standing()
        try:
            event, circumstances = await self._looking.event(request, standing, identifier, market)
        except SeveralMarketsError as several:
            return await self._site.render(
                visitor,
                "several.html",
                standing,
                {"here": "/events", "id": identifier, "events": several.events},
            )
        if event.id != identifier:
            raise self._looking.missing(identifier)
        explained = list(explain_event(event, wanted_of(document_of(request)), circumstances))
        return await self._site.render(
            visitor,
            "event.html",
            standing,
            {
                "here": "/events",
                "event": event_document(event, circumstances.in_flight),
                "explained": explanation_document(event, explained, circumstances),
            },
        )

    async def body(self, request: Request, _: Visitor) -> Response:
        """Return a body whole, as text, on one line as it is sent."""
        identifier, market = request.path_params["id"], request.query_params.get("market")
        event = await self._site.look(lambda snapshot: snapshot.find(identifier, market))
        if event is None or event.body is None:
            raise self._looking.missing(identifier)
        return PlainTextResponse(json_printable(event.body.decode()))

    async def find(self, request: Request, _: Visitor) -> Response:
        """Go to what has an id: an event, a delivery, or the events about an object."""
        identifier = request.query_params.get("id", "").strip()[:256]

        def look(snapshot: Snapshot) -> str:
            try:
                event = snapshot.find(identifier)
            except SeveralMarketsError:
                return f"/events/{quote(identifier, safe='')}"
            if event is None:
                return f"/events?{urlencode({'object': identifier})}"
            kind = "events" if event.id == identifier else "deliveries"
            return f"/{kind}/{quote(identifier, safe='')}"

        return RedirectResponse(await self._site.look(look), HTTPStatus.SEE_OTHER)
