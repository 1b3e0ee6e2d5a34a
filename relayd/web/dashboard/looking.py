"""Looks up an event or a delivery with all that bears on it, as `explain` does."""

import time
from collections.abc import Iterable
from http import HTTPStatus

from starlette.requests import Request

from relayd.core.absence import Absence
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import EventDetail, ListedDelivery
from relayd.views.deliveries import InFlight
from relayd.views.in_force import not_in_force
from relayd.views.waiting import Circumstances
from relayd.web.dashboard.display import short
from relayd.web.dashboard.site import Site, Standing
from relayd.web.dashboard.wanted import endpoints_of
from relayd.web.followed_document import document_of
from relayd.web.in_flight import ask_in_flight
from relayd.web.problem import ProblemError


class Looking:
    """Looks into the queue and asks the daemon, for a page about one thing."""

    def __init__(self, site: Site) -> None:
        self._site = site

    async def in_flight(
        self, standing: Standing, deliveries: Iterable[ListedDelivery]
    ) -> dict[int, InFlight] | None:
        """Return what is in flight of a page's deliveries; None where nobody says."""
        if standing.live is None:
            return {} if standing.absence is Absence.NOT_RUNNING else None
        return await ask_in_flight(self._site.daemon, deliveries)

    async def event(
        self, request: Request, standing: Standing, identifier: str, market: str | None
    ) -> tuple[EventDetail, Circumstances]:
        """Return an event, or the event of a delivery, and what bears on it.

        Raises `ProblemError` where there is none, and `SeveralMarketsError`.
        """
        now = time.time()
        settings = document_of(request)

        def look(snapshot: Snapshot) -> tuple[EventDetail, Circumstances] | None:
            event = snapshot.find(identifier, market)
            if event is None:
                return None
            urls = {name: each.url for name, each in snapshot.subscriptions.items()}
            return event, Circumstances(
                running=standing.live is not None or standing.absence is not Absence.NOT_RUNNING,
                health=snapshot.health(),
                due=snapshot.count_due(now=now),
                urls=urls,
                endpoints=endpoints_of(settings, urls),
                in_flight=None,
                now=now,
                holds={name: each.hold for name, each in snapshot.subscriptions.items()},
                to_reload=not_in_force(standing.in_force) is not None,
            )

        found = await self._site.look(look)
        if found is None:
            raise self.missing(identifier)
        event, circumstances = found
        deliveries = [each.delivery for each in event.deliveries]
        in_flight = await self.in_flight(standing, deliveries)
        return event, circumstances.with_in_flight(in_flight)

    def missing(self, identifier: str) -> ProblemError:
        """Return that nothing has this id."""
        return ProblemError(
            HTTPStatus.NOT_FOUND,
            "not_found",
            f"Nothing in the queue has the id {short(identifier)}. What is old has been removed by"
            " the retention.",
        )
