"""Rejected input: the list, one of it in full, and resubmitting or dropping it."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import RejectedInput
from relayd.views.rejected import columns_of, listed_document, rejected_document, removed_document
from relayd.web.dashboard.acting import Acting, Done, NotDoneError, Question
from relayd.web.dashboard.display import short
from relayd.web.dashboard.site import Site
from relayd.web.dashboard.visitor import Visitor
from relayd.web.problem import ProblemError

MOST: Final = 200
"""Rows of the list."""

MOST_AT_ONCE: Final = 500
"""Rows that one click resubmits."""

MOST_DATA: Final = 256 * 1024
"""Characters of data that can be changed in a form."""

FORM_BYTES: Final = 4 * 1024 * 1024

_CHANGED: Final = ("type", "id", "created", "data")

_MOST_DIGITS: Final = 18
"""Of a row's number, which has 63 bits."""

_NOBODY: Final = "nobody"
_ENDS: Final = frozenset({_NOBODY, "unavailable", "busy"})
"""Refusals that are not about one row: nobody answered, the queue cannot be written, too many ask."""


class RejectedPages:
    """Answers `/rejected`, `/rejected/NUMBER` and what is done there."""

    def __init__(self, site: Site, acting: Acting) -> None:
        self._site = site
        self._acting = acting

    async def show_all(self, _: Request, visitor: Visitor) -> Response:
        """List it, newest first."""
        standing = await self._site.standing()
        rows, removed = await self._site.look(
            lambda snapshot: (snapshot.list_rejected(limit=MOST + 1), snapshot.removed_for_limit())
        )
        return await self._site.render(
            visitor,
            "rejected.html",
            standing,
            {
                "here": "/problems",
                "rejected": list(map(listed_document, rows[:MOST])),
                "more": len(rows) > MOST,
                "removed": list(map(removed_document, removed)),
            },
        )

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """Show one in full."""
        standing = await self._site.standing()
        found = await self._found(request)
        columns = columns_of(found)
        return await self._site.render(
            visitor,
            "rejected_one.html",
            standing,
            {
                "here": "/problems",
                "one": rejected_document(found),
                "editable": len(str(columns["data"] or "")) <= MOST_DATA,
            },
        )

    async def resubmit(self, request: Request, visitor: Visitor) -> Response:
        """Resubmit one, with what was changed in the form."""
        form = await self._acting.form(request, visitor, FORM_BYTES)
        found = await self._found(request)
        number = found.seq
        answer = await self._acting.ask(
            {"command": "resubmit", "rejected": number, "changes": changes_of(form, found)}
        )
        event = f"/find?id={answer['id']}"
        title = f"{number}: accepted as {answer['id']}"
        if answer["duplicate"]:
            title = f"{number}: {answer['id']} had been accepted before, with the same content"
        links = ((event, "The event"), ("/rejected", "Rejected input"))
        return await self._acting.done(visitor, Done(title, links=links, here="/problems"))

    async def ask_all(self, _: Request, visitor: Visitor) -> Response:
        """Ask whether to resubmit all that is listed."""
        numbers = await self._numbers()
        if not numbers:
            return await self._acting.question(
                visitor, Question("Nothing was rejected", "/rejected")
            )
        many = _rows(len(numbers))
        question = Question(
            f"Resubmit {many}?",
            "/rejected",
            "/rejected/resubmit",
            f"Resubmit {many}",
            [
                "Each is taken in as it is, as its source would. What still cannot be an event stays here.",
                "What is accepted leaves the list, and goes to the subscriptions that want it.",
            ],
            fields=(("newest", str(numbers[-1])), ("count", str(len(numbers)))),
        )
        return await self._acting.question(visitor, question)

    async def resubmit_all(self, request: Request, visitor: Visitor) -> Response:
        """Resubmit them, oldest first."""
        form = await self._acting.form(request, visitor)
        newest = _number(form.get("newest", ""))
        if newest is None:
            raise NotDoneError(["This form is not whole."], HTTPStatus.BAD_REQUEST)
        # What was rejected after the question is not meant.
        numbers = [each for each in await self._numbers() if each <= newest]
        accepted, refused = 0, []
        for number in numbers:
            try:
                await self._acting.ask({"command": "resubmit", "rejected": number, "changes": {}})
                accepted += 1
            except NotDoneError as error:
                if error.answer.get("code", _NOBODY) in _ENDS:
                    refused.append(" ".join(error.reasons))
                    break  # as the next one would be
                refused.append(f"{number}: {' '.join(error.reasons)}")
        left = len(numbers) - accepted
        stay = [f"{_rows(left)} still rejected:", *refused[:10]] if refused else []
        done = Done(
            f"{_rows(accepted)} accepted",
            stay,
            "good" if not refused else "warn",
            links=(("/rejected", "Rejected input"), ("/events", "Events")),
            here="/problems",
        )
        return await self._acting.done(visitor, done)

    async def ask_drop(self, request: Request, visitor: Visitor) -> Response:
        """Ask whether to drop one."""
        found = await self._found(request)
        question = Question(
            f"Drop {found.seq}?",
            f"/rejected/{found.seq}",
            f"/rejected/{found.seq}/drop",
            "Drop",
            [f"What {found.source} handed over is lost then: it cannot be resubmitted."],
            danger=True,
        )
        return await self._acting.question(visitor, question)

    async def drop(self, request: Request, visitor: Visitor) -> Response:
        """Drop it."""
        await self._acting.form(request, visitor)
        number = _number(request.path_params["number"])
        if number is None:
            raise _missing(request)
        answer = await self._acting.ask({"command": "drop", "rejected": [number]})
        title = f"{number} dropped" if answer["changed"] else f"{number} was gone already"
        links = (("/rejected", "Rejected input"),)
        return await self._acting.done(visitor, Done(title, links=links, here="/problems"))

    async def _numbers(self) -> list[int]:
        """Return the numbers of the oldest rows, oldest first."""

        def look(snapshot: Snapshot) -> list[int]:
            return [each.seq for each in snapshot.list_rejected(limit=1_000_000)]

        return (await self._site.look(look))[::-1][:MOST_AT_ONCE]

    async def _found(self, request: Request) -> RejectedInput:
        number = _number(request.path_params["number"])
        found = None
        if number is not None:
            found = await self._site.look(lambda snapshot: snapshot.rejected(number))
        if found is None:
            raise _missing(request)
        return found


def _number(text: str) -> int | None:
    """Return a row's number; None where the text is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS):
        return None
    return int(text) or None


def _missing(request: Request) -> ProblemError:
    number = short(request.path_params["number"])
    return ProblemError(
        HTTPStatus.NOT_FOUND,
        "not_found",
        f"There is no rejected input {number}: it was resubmitted or dropped.",
    )


def changes_of(form: Mapping[str, str], found: RejectedInput) -> dict[str, str]:
    """Return the fields that are not as a browser sends them where nobody changed them.

    A webhook's raw body is not the data of an event: that field is empty until somebody fills it in.
    """
    shown = columns_of(found) | ({} if found.webhook is None else {"data": None})
    changes: dict[str, str] = {}
    for name in _CHANGED:
        before = "" if shown[name] is None else str(shown[name])
        given = form.get(name)
        if given is None:
            continue
        if name == "data":
            if _as_sent(given) != _as_sent(before):
                changes[name] = _as_sent(given)
        # A space too many may be what is wrong with it.
        elif given != before:
            changes[name] = given.strip()
    return changes


def _as_sent(text: str) -> str:
    """Return text as a browser makes it of any line's end and of NUL: a body with a file has these."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return lines.replace("\0", "\ufffd").strip()


def _rows(count: int) -> str:
    return f"{count:,} rejected row{'' if count == 1 else 's'}"
