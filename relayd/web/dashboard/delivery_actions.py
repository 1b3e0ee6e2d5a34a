"""Retry, replay and cancel: of one delivery, one event, or all that a filter finds."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import Final
from urllib.parse import urlencode

from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from relayd.batched_change import CHANGE_TIMEOUT_S, Change
from relayd.core.delivery import BACKLOG, State
from relayd.core.hold import Hold
from relayd.queue.selection import REPLAYABLE, Selection, select_for
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import Named, QueueUnreadableError, SeveralMarketsError
from relayd.views.counts import deliveries_in_words
from relayd.views.holds import HOLD_ADVICE
from relayd.views.refusals import other_ways, refusal_line
from relayd.web.dashboard import filters
from relayd.web.dashboard.acting import Acting, Done, NotDoneError, Question
from relayd.web.dashboard.delivery_words import (
    FOLLOWS,
    SENT_AGAIN,
    VERBS,
    sentences_of,
    title_of,
)
from relayd.web.dashboard.site import Page
from relayd.web.dashboard.visitor import Visitor

MOST_IDS: Final = 100
MOST_AT_ONCE: Final = 20_000
"""Rows that one click changes. The rest is asked about again: a request must end some time."""

COMMANDS: Final = ("retry", "replay", "cancel")

_SAID: Final = 10
_LARGEST: Final = 2**63 - 1
_FIELDS: Final = ("subscription", "state", "type", "object", "since", "until", "market")
_STATES: Final[Mapping[str, Sequence[State]]] = {
    "retry": BACKLOG,
    "replay": (*REPLAYABLE, State.DELIVERED),
    "cancel": BACKLOG,
}


@dataclass(frozen=True, slots=True)
class _Asked:
    """What a question is about: ids, or a filter, as its fields say.

    `newest` is the number of the newest delivery that there was when it was asked: what has come in since
    is not meant by its answer. None where it is asked now.
    """

    command: str
    query: QueryParams
    ids: tuple[str, ...]
    newest: int | None

    @property
    def fields(self) -> list[tuple[str, str]]:
        """Its fields, which name the same again."""
        found = [("id", each) for each in self.ids]
        return found + [
            (name, value) for name in _FIELDS if (value := self.query.get(name, "").strip())
        ]

    @property
    def before(self) -> int | None:
        """The number that those which are meant are below."""
        return None if self.newest is None else self.newest + 1

    @property
    def back(self) -> str:
        """The page where it was asked, as far as that is known."""
        if len(self.ids) == 1:
            return f"/find?{urlencode({'id': self.ids[0]})}"
        return f"/deliveries?{urlencode(self.fields)}"

    @property
    def whole_of(self) -> str | None:
        """The subscription whose whole backlog is released by one command, if it is."""
        names = [name for name, _ in self.fields]
        return self.fields[0][1] if self.command == "retry" and names == ["subscription"] else None


@dataclass(frozen=True, slots=True)
class _Found:
    selection: Selection
    ways: Sequence[str]
    holds: Mapping[str, Hold]


class DeliveryActions:
    """Answers `/act/retry`, `/act/replay` and `/act/cancel`."""

    def __init__(self, acting: Acting) -> None:
        self._acting = acting

    def ask(self, command: str) -> Page:
        """Return the page that says how many there are, and what follows."""

        async def ask(request: Request, visitor: Visitor) -> Response:
            asked = _asked(command, request.query_params, None)
            return await self._question(visitor, asked, await self._find(asked))

        return ask

    def act(self, command: str) -> Page:
        """Return what does it, and asks again where there are more by now than was said."""

        async def act(request: Request, visitor: Visitor) -> Response:
            return await self._act(command, request, visitor)

        return act

    async def _act(self, command: str, request: Request, visitor: Visitor) -> Response:
        form = await self._acting.form(request, visitor)
        try:
            said, newest = int(form.get("count", "")), int(form.get("newest", ""))
        except ValueError:
            said, newest = 0, 0
        if not 0 < newest < _LARGEST:
            raise NotDoneError(["This form is not whole."], HTTPStatus.BAD_REQUEST)
        asked = _asked(command, form, newest)
        found = await self._find(asked)
        if len(found.selection.seqs) > said:
            return await self._question(visitor, asked, found, more=True)
        return await self._acting.done(visitor, await self._done(asked, found.selection))

    async def _find(self, asked: _Asked) -> _Found:
        given, wrong = filters.read(asked.query)
        if not asked.ids and not {name for name, _ in asked.fields} - {"market"}:
            wrong = ["Choose which: filter the list of deliveries first."]
        elif not asked.ids and given.market:
            wrong = ["A market is that of an id: leave it out, or name an event."]

        def look(snapshot: Snapshot) -> _Found:
            wanted, problems = given.deliveries(snapshot)
            if wrong or problems or wanted is None:
                # A field that means nothing would let all deliveries through.
                raise NotDoneError([*wrong, *problems], HTTPStatus.BAD_REQUEST)
            if wanted.states - set(_STATES[asked.command]):
                states = ", ".join(map(str, _STATES[asked.command]))
                raise NotDoneError([f"{VERBS[asked.command]} is for deliveries that are {states}."])
            named = None if not asked.ids else _named(snapshot, asked.ids, given.market)
            selection = select_for(
                asked.command, snapshot, replace(wanted, before=asked.before), named
            )
            ways: list[str] = []
            if not selection.seqs and named is None:
                ways = other_ways(snapshot, asked.command, wanted, wanted.subscriptions)
            holds = {
                name: hold
                for name in selection.counts
                if (hold := snapshot.subscriptions[name].hold) is not None
            }
            return _Found(selection, ways, holds)

        try:
            return await self._acting.site.look(look)
        except QueueUnreadableError as error:
            hint = (
                "Where there are too many to count, choose one subscription, a state, or less time."
            )
            raise NotDoneError([f"{error}.", hint], HTTPStatus.SERVICE_UNAVAILABLE) from error

    async def _question(
        self, visitor: Visitor, asked: _Asked, found: _Found, *, more: bool = False
    ) -> Response:
        selection, command = found.selection, asked.command
        total = len(selection.seqs)
        left = [refusal_line(command, each) for each in selection.others[:_SAID]]
        if len(selection.others) > _SAID:
            left.append(f"Left as they are, too: {len(selection.others) - _SAID:,} more.")
        if not total:
            nothing = Question(
                f"There is nothing to {command}", asked.back, left=[*left, *found.ways]
            )
            return await self._acting.question(visitor, nothing)
        delivered = asked.query.get("state") == State.DELIVERED
        follows = [*FOLLOWS[command], *([SENT_AGAIN] if delivered else [])]
        if more:
            follows.insert(0, "There are more by now than the question said.")
        if total > MOST_AT_ONCE and asked.whole_of is None:
            follows.append(
                f"One click does the oldest {MOST_AT_ONCE:,}; then it asks about the rest."
            )
        if command != "cancel":
            follows += [
                f"{name} is held: {HOLD_ADVICE[hold].format(name=name)}."
                for name, hold in found.holds.items()
            ]
        question = Question(
            title=f"{VERBS[command]} {deliveries_in_words(total)}?",
            back=asked.back,
            action=f"/act/{command}",
            button=f"{VERBS[command]} {deliveries_in_words(total)}",
            sentences=follows,
            counts=selection.counts,
            what=f"to {command}",
            left=left,
            fields=[*asked.fields, ("count", str(total)), ("newest", str(selection.seqs[-1]))],
            danger=command == "cancel",
        )
        return await self._acting.question(visitor, question)

    async def _done(self, asked: _Asked, selection: Selection) -> Done:
        command = asked.command
        change = Change(
            command,
            "deliveries",
            selection.seqs[:MOST_AT_ONCE],
            delivered=asked.query.get("state") == State.DELIVERED,
        )
        done = 0
        links = [(asked.back, "Back"), ("/", "Overview")]
        name = asked.whole_of
        try:
            if name is not None and selection.seqs:
                change.take(await self._acting.ask({"command": "retry", "subscription": name}))
                done = len(selection.seqs)
            else:
                for count, request in change.requests():
                    change.take(await self._acting.ask(request, timeout_s=CHANGE_TIMEOUT_S))
                    done += count
        except NotDoneError as error:
            if not done:
                raise
            how_far = f"{done:,} of {len(selection.seqs):,} were done before that."
            return Done("Not all was done", [*error.reasons, how_far], "bad", links=links)
        sentences = sentences_of(change, done)
        if (rest := len(selection.seqs) - done) > 0:
            sentences.append(f"{deliveries_in_words(rest)} {'is' if rest == 1 else 'are'} left.")
            again = f"/act/{command}?{urlencode(asked.fields)}"
            links.insert(0, (again, f"{VERBS[command]} the rest"))
        return Done(title_of(command, change.changed), sentences, links=links, here="/deliveries")


def _asked(command: str, query: QueryParams, newest: int | None) -> _Asked:
    ids = [each for text in query.getlist("id") if (each := text.strip()[: filters.MOST])]
    if len(ids) > MOST_IDS:
        raise NotDoneError([f"Name at most {MOST_IDS} ids at a time."], HTTPStatus.BAD_REQUEST)
    return _Asked(command, query, tuple(dict.fromkeys(ids)), newest)


def _named(snapshot: Snapshot, ids: Sequence[str], market: str) -> Named:
    try:
        found = snapshot.find_named(ids, market or None)
    except SeveralMarketsError as several:
        markets = ", ".join(each.market_id or "unknown" for each in several.events)
        raise NotDoneError(
            [f"Several markets used the id {several.identifier}: {markets}. Open one of them."]
        ) from None
    if isinstance(found, str):
        raise NotDoneError([f"Nothing in the queue has the id {found}."], HTTPStatus.NOT_FOUND)
    return found
