"""`/v1/deliveries`: the documents of `deliveries` and `show`, and `retry`, `replay` and `cancel` of one delivery."""

from http import HTTPStatus
from typing import Any, Final

from starlette.requests import Request

from relayd.core.catalogue import suggest
from relayd.core.delivery import State, delivery_seq
from relayd.core.object_id import LONGEST
from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.selection import REPLAYABLE, Selection, select_for
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import EventDetail, Page
from relayd.views.deliveries import event_document, page_document
from relayd.views.delivery_changes import cancelled_document, replayed_document, retried_document
from relayd.views.refusals import refusal_document, refusal_line
from relayd.web.api.service import Answer, Service
from relayd.web.in_flight import ask_in_flight
from relayd.web.problem import ProblemError
from relayd.web.query import check_names, moment, number, patterns, refused, several, text

LIMIT: Final = 50
MOST: Final = 1_000
MOST_REPEATED: Final = 100
MOST_CHARACTERS: Final = 256

RESENT: Final = (*REPLAYABLE, State.DELIVERED)
"""The states that a replay may be asked for."""


class Deliveries:
    """Answers what is asked of deliveries."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def show_page(self, request: Request) -> Answer:
        """List deliveries, newest first, as `relayd deliveries --json`."""
        query = request.query_params
        check_names(query, ("since", "until", "object", "limit", "before"), _REPEATED)
        names = several(query, "subscription", MOST_REPEATED)
        states = _states(several(query, "state", MOST_REPEATED), tuple(State))
        before = text(query, "before", MOST_CHARACTERS)
        limit = number(query, "limit", LIMIT, 1, MOST)
        wanted = DeliveryFilter(
            states=states,
            types=patterns(query, "type", MOST_REPEATED),
            since=moment(query, "since"),
            until=moment(query, "until"),
            object_id=text(query, "object", LONGEST),
        )

        def look(snapshot: Snapshot) -> Page:
            return snapshot.list_deliveries(
                DeliveryFilter(
                    subscriptions=_known(snapshot, names),
                    states=wanted.states,
                    types=wanted.types,
                    since=wanted.since,
                    until=wanted.until,
                    object_id=wanted.object_id,
                    before=None if before is None else _number(snapshot, before),
                ),
                limit,
            )

        page = await self._service.look(look)
        in_flight = await ask_in_flight(self._service.daemon, page.deliveries)
        return Answer(await self._service.run(lambda: page_document(page, in_flight)))

    async def show_one(self, request: Request) -> Answer:
        """Show one delivery with its event, as `relayd show --json`."""
        check_names(request.query_params, (), ())
        identifier = request.path_params["id"]

        def look(snapshot: Snapshot) -> EventDetail:
            _number(snapshot, identifier)
            event = snapshot.find(identifier)
            if (
                event is None
                or not event.deliveries
                or event.deliveries[0].delivery.id != identifier
            ):
                raise missing(identifier)
            return event

        event = await self._service.look(look)
        shown = [each.delivery for each in event.deliveries]
        in_flight = await ask_in_flight(self._service.daemon, shown)
        return Answer(await self._service.run(lambda: event_document(event, in_flight)))

    async def retry(self, request: Request) -> Answer:
        """Attempt a delivery now that has not ended, as `relayd retry --json`."""
        check_names(request.query_params, (), ())
        selection, behind = await self._selected("retry", request, frozenset())
        answer = await self._changed("retry", request, selection)
        return Answer(
            retried_document(selection, answer["changed"], answer["held"], answer["lifted"], behind)
        )

    async def replay(self, request: Request) -> Answer:
        """Send a delivery again that has ended, as `relayd replay --json`."""
        query = request.query_params
        check_names(query, (), ("state",))
        states = _states(several(query, "state", MOST_REPEATED), RESENT)
        selection, _ = await self._selected("replay", request, states)
        answer = await self._changed("replay", request, selection, states)
        matched = len(selection.seqs)
        return Answer(replayed_document(selection, matched, answer["changed"], answer["held"], {}))

    async def cancel(self, request: Request) -> Answer:
        """Cancel a delivery that has not ended, as `relayd cancel --json`."""
        check_names(request.query_params, (), ())
        selection, _ = await self._selected("cancel", request, frozenset())
        answer = await self._changed("cancel", request, selection)
        return Answer(cancelled_document(selection, answer["changed"], answer["in_flight"]))

    async def _changed(
        self,
        command: str,
        request: Request,
        selection: Selection,
        states: frozenset[State] = frozenset(),
    ) -> dict[str, Any]:
        """Return what the daemon answers. Raises `ProblemError` where the delivery was changed meanwhile.

        An attempt may have ended it, or somebody else have cancelled it, since it was looked at.
        """
        asked: dict[str, object] = {"command": command, "deliveries": list(selection.seqs)}
        if State.DELIVERED in states:
            asked["delivered"] = True
        answer = await self._service.ask(asked)
        if not answer["changed"]:
            await self._selected(command, request, states)
        return answer

    async def _selected(
        self, command: str, request: Request, states: frozenset[State]
    ) -> tuple[Selection, dict[str, int]]:
        """Return the delivery as what a command touches, and whether its subscription has it behind another.

        Raises `ProblemError` where the command does not touch it, with the command that does what was meant.
        """
        identifier = request.path_params["id"]

        def look(snapshot: Snapshot) -> tuple[Selection, dict[str, int]]:
            _number(snapshot, identifier)
            named = snapshot.find_named([identifier])
            if isinstance(named, str) or not named.deliveries:
                raise missing(identifier)
            selection = select_for(command, snapshot, DeliveryFilter(states=states), named)
            behind = {
                each.subscription: 1
                for each in snapshot.described(selection.seqs)
                if each.place is not None and each.place.behind is not None
            }
            return selection, behind

        selection, behind = await self._service.look(look)
        for each in selection.others:
            raise ProblemError(
                HTTPStatus.CONFLICT,
                "not_touched",
                refusal_line(command, each),
                more=refusal_document(command, each),
            )
        return selection, behind


_REPEATED: Final = ("subscription", "state", "type")


def _states(given: tuple[str, ...], known: tuple[State, ...]) -> frozenset[State]:
    if not set(given) <= set(known):
        raise refused(f"state is one of {', '.join(known)}")
    return frozenset(map(State, given))


def _known(snapshot: Snapshot, names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if name not in snapshot.subscriptions:
            near = suggest(name, snapshot.subscriptions)
            hint = f"; did you mean {near}?" if near else ""
            raise ProblemError(
                HTTPStatus.NOT_FOUND, "unknown", f"there is no such subscription{hint}"
            )
    return names


def _number(snapshot: Snapshot, identifier: str) -> int:
    """Return a delivery's number. Raises `ProblemError` where it is not the id of one in this queue."""
    seq = delivery_seq(identifier, snapshot.tag)
    if seq is None:
        raise missing(identifier, f"; the ids of its deliveries begin with dlv_{snapshot.tag}_")
    return seq


def missing(identifier: str, hint: str = "") -> ProblemError:
    """Return that nothing has this id."""
    shown = identifier if len(identifier) <= MOST_CHARACTERS else f"{identifier[:MOST_CHARACTERS]}…"
    return ProblemError(
        HTTPStatus.NOT_FOUND, "unknown", f"there is no {shown!r} in the queue{hint}"
    )
