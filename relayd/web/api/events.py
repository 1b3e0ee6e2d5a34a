"""`/v1/events/ID`: the document of `show`."""

from http import HTTPStatus

from starlette.requests import Request

from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import EventDetail, SeveralMarketsError
from relayd.views.deliveries import event_document
from relayd.web.api.deliveries import MOST_CHARACTERS, missing
from relayd.web.api.service import Answer, Service
from relayd.web.in_flight import ask_in_flight
from relayd.web.problem import ProblemError
from relayd.web.query import check_names, text


class Events:
    """Answers what is asked of events."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def show_one(self, request: Request) -> Answer:
        """Show one event with its deliveries and their attempts, as `relayd show --json`."""
        check_names(request.query_params, ("market",), ())
        market = text(request.query_params, "market", MOST_CHARACTERS)
        identifier = request.path_params["id"]

        def look(snapshot: Snapshot) -> EventDetail:
            event = snapshot.find(identifier, market)
            if event is None or event.id != identifier:
                raise missing(identifier)
            return event

        try:
            event = await self._service.look(look)
        except SeveralMarketsError as several:
            markets = sorted(each.market_id for each in several.events)
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "several_markets",
                f"{len(markets)} markets have an event with this id; say which with market=",
                more={"markets": markets},
            ) from several
        shown = [each.delivery for each in event.deliveries]
        in_flight = await ask_in_flight(self._service.daemon, shown)
        return Answer(await self._service.run(lambda: event_document(event, in_flight)))
