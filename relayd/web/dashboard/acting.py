"""Pages that change something: a question with a number first, then what came of it, for those who may act."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Final

import anyio
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import Response

from relayd.control import NoDaemonError, RefusedByDaemonError
from relayd.web.body import Bodies
from relayd.web.dashboard.login import MOST_BYTES, form_of
from relayd.web.dashboard.site import Handler, Page, Site
from relayd.web.dashboard.visitor import Visitor, check_form
from relayd.web.followed_document import look_again
from relayd.web.problem import ProblemError

TIMEOUT_S: Final = 30.0
RELOAD_TIMEOUT_S: Final = 240.0
"""More than the daemon gives the reading of the configuration: it says what came of it."""


AT_ONCE: Final = 2
"""Of what is done in a transaction, and again of what waits for a receiver or a reload, which may take minutes: a
pause does not wait behind these. The way to the daemon is also that of probes and pages."""


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked before something is done.

    `counts` are numbers by name, `sentences` what follows. `action` is the path that does it, `fields` what
    it needs; `button` is None where there is nothing to do. `back` is where to go instead.
    """

    title: str
    back: str
    action: str = ""
    button: str | None = None
    sentences: Sequence[str] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    what: str = ""
    left: Sequence[str] = ()
    fields: Sequence[tuple[str, str]] = ()
    types: Sequence[str] = ()
    danger: bool = False


@dataclass(frozen=True, slots=True)
class Done:
    """What came of it: `mood` is that of a badge. `links` are paths to go on to, with their names."""

    title: str
    sentences: Sequence[str] = ()
    mood: str = "good"
    answer: str = ""
    links: Sequence[tuple[str, str]] = ()
    here: str = ""


class NotDoneError(Exception):
    """The daemon did not do it, or nobody knows; says why, a sentence each. `answer` is what it said."""

    def __init__(
        self,
        reasons: Sequence[str],
        status: HTTPStatus = HTTPStatus.CONFLICT,
        answer: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__("; ".join(reasons))
        self.reasons = reasons
        self.status = status
        self.answer = answer or {}


class Acting:
    """Asks, acts and answers."""

    def __init__(self, site: Site, bodies: Bodies) -> None:
        self.site = site
        self._bodies = bodies
        self._quick = anyio.CapacityLimiter(AT_ONCE)
        self._long = anyio.CapacityLimiter(AT_ONCE)

    def page(self, handler: Page) -> Handler:
        """Return what answers a path for those who may act, and says to others that they may only look."""

        async def answer(request: Request, visitor: Visitor) -> Response:
            if not visitor.may_act:
                raise ProblemError(HTTPStatus.FORBIDDEN, "read_only", "this token may only look")
            try:
                return await handler(request, visitor)
            except NotDoneError as error:
                failed = Done("Not done", error.reasons, "bad", links=(("/", "Overview"),))
                return await self.done(visitor, failed, error.status)

        return self.site.page(answer)

    async def form(
        self, request: Request, visitor: Visitor, most_bytes: int = MOST_BYTES
    ) -> QueryParams:
        """Return the fields of a form that is one of this visitor's. Raises `ProblemError`."""
        form = await form_of(request, self._bodies, most_bytes)
        check_form(visitor, form.get("form_key"))
        return form

    async def ask(
        self, request: Mapping[str, object], *, timeout_s: float = TIMEOUT_S, long: bool = False
    ) -> dict[str, Any]:
        """Return the daemon's answer that it was done. Raises `NotDoneError`.

        It is `long` where it waits for a receiver, or for the configuration to be read.
        """
        try:
            async with self._long if long else self._quick:
                return await self.site.daemon.ask(request, timeout_s=timeout_s)
        except RefusedByDaemonError as refused:
            raise NotDoneError(
                [_sentence(each) for each in refused.problems], answer=refused.answer
            ) from None
        except NoDaemonError as error:
            raise NotDoneError(
                [_sentence(f"relayd is not there to do it: {error}")],
                HTTPStatus.SERVICE_UNAVAILABLE,
            ) from None
        except TimeoutError:
            raise NotDoneError(
                [f"relayd did not answer within {timeout_s:g} s. It may still do it; see its log."],
                HTTPStatus.GATEWAY_TIMEOUT,
            ) from None
        finally:
            self.site.forget()

    async def reloaded(self, request: Request, command: Mapping[str, object]) -> dict[str, Any]:
        """Return the answer to a command that reloads; what is in force then is known here, too."""
        try:
            return await self.ask(command, timeout_s=RELOAD_TIMEOUT_S, long=True)
        finally:
            await look_again(request)

    async def question(self, visitor: Visitor, question: Question) -> Response:
        """Return the page that asks."""
        standing = await self.site.standing()
        return await self.site.render(
            visitor, "question.html", standing, {"here": "", "question": question}
        )

    async def done(
        self, visitor: Visitor, done: Done, status: HTTPStatus = HTTPStatus.OK
    ) -> Response:
        """Return the page that says what came of it."""
        standing = await self.site.standing()
        return await self.site.render(
            visitor, "done.html", standing, {"here": done.here, "done": done}, status
        )


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}{'' if words.endswith('.') else '.'}"


def no_subscription(name: str) -> NotDoneError:
    """Return that no subscription has this name."""
    return NotDoneError([f"There is no subscription {name}."], HTTPStatus.NOT_FOUND)
