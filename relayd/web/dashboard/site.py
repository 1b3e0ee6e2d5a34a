"""What all pages have in common: who may see them, their frame, and the headers that keep them safe.

Logs `page_without_queue` when the queue cannot be read: see `web.queue_trouble`.
"""

import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import quote

import anyio
import structlog
from anyio.to_thread import run_sync
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from relayd.control import NoDaemonError, RefusedByDaemonError
from relayd.core.absence import Absence
from relayd.queue.snapshot import QueueReader, Snapshot
from relayd.queue.snapshot_values import QueueUnreadableError
from relayd.views.in_force import Answer
from relayd.views.status import Live
from relayd.web.access import holder_of
from relayd.web.daemon_link import DaemonLink
from relayd.web.dashboard.display import FILTERS
from relayd.web.dashboard.shares import Sent, Shares
from relayd.web.dashboard.visitor import Visitor, Visitors
from relayd.web.kept import Kept
from relayd.web.problem import ProblemError
from relayd.web.queue_trouble import QueueTrouble

T = TypeVar("T")
_log = structlog.get_logger()

HERE: Final = Path(__file__).parent
SNAPSHOT_S: Final = 2.0
TIMEOUT_S: Final = 2.0
NOT_FOR_PAGES: Final = "This token may not open the dashboard: http.token and http.read_token may."
KEPT_S: Final = 1.0
"""How long what the daemon said holds, and what takes long to read: ten tabs ask no more often than one."""

AT_ONCE: Final = 2
"""Pages that are made at a time; others wait for their turn."""

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'self'; base-uri 'none'; form-action 'self';"
    " frame-ancestors 'none'; object-src 'none'",
    "X-Content-Type-Options": "nosniff",
    # Not `no-referrer`: then a form would have no Origin.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

Handler = Callable[[Request], Awaitable[Response | Sent]]
Page = Callable[[Request, Visitor], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Standing:
    """What the daemon says now: `absence` why it says nothing, `in_force` its answer to that command."""

    live: Live | None
    absence: Absence
    in_force: Answer | None

    @property
    def down(self) -> str | None:
        """Why there is nothing live, for each page; None where there is."""
        return None if self.live is not None else _DOWN[self.absence]


_DOWN: Final = {
    Absence.NOT_RUNNING: "relayd is not running: nothing is delivered. This is what its queue says.",
    Absence.NOT_ANSWERING: "relayd does not answer. This is what its queue says.",
    Absence.NOT_PERMITTED: "The web process may not ask relayd. This is what its queue says.",
}


class Site:
    """Makes pages of what the queue and the daemon say."""

    def __init__(self, daemon: DaemonLink, queue: QueueReader) -> None:
        self.daemon = daemon
        self.visitors = Visitors()
        self._queue = queue
        self._limiter = anyio.CapacityLimiter(AT_ONCE)
        self._shares = Shares()
        self._trouble = QueueTrouble()
        self._standing = Kept[Standing](KEPT_S, share=0)  # a wait costs nothing
        self._kept: list[Kept[Any]] = [self._standing]
        self._templates = Environment(
            loader=FileSystemLoader(HERE / "templates"),
            autoescape=True,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            auto_reload=False,
            cache_size=-1,
        )
        self._templates.filters |= FILTERS
        self._templates.globals["assets"] = _digest_of_files()
        for name in self._templates.list_templates():
            self._templates.get_template(name)  # all of one version, whatever an upgrade brings

    def page(self, handler: Page) -> Handler:
        """Return what answers a path with a page, for those who may look; others go to the login."""

        async def answer(request: Request) -> Response | Sent:
            try:
                visitor = self.visitors.who(request)
                if visitor is None:
                    return self._no_visitor(request)
                with self._shares.page_of(visitor.role):
                    response = safe(await handler(request, visitor))
                if request.method == "POST":
                    self.forget()
                return self._shares.sent(response, visitor.role)
            except ProblemError as problem:
                return self.problem(problem)
            except QueueUnreadableError as error:
                if self._trouble.is_news(error):
                    _log.warning("page_without_queue", detail=str(error))
                return self.problem(
                    ProblemError(HTTPStatus.SERVICE_UNAVAILABLE, "queue", f"{error}")
                )

        return answer

    def _no_visitor(self, request: Request) -> Response:
        if holder_of(request) is None:
            return safe(_to_login(request))
        return self.problem(ProblemError(HTTPStatus.FORBIDDEN, "wrong_token", NOT_FOR_PAGES))

    async def standing(self) -> Standing:
        """Return what the daemon says, asked at most once a second."""
        return await self._standing.get(self._ask)

    def forget(self) -> None:
        """Look and ask again for the next page: something was changed."""
        for each in self._kept:
            each.forget()

    async def _ask(self) -> Standing:
        try:
            live = await self.daemon.ask({"command": "status"}, timeout_s=TIMEOUT_S)
        except NoDaemonError as error:
            return Standing(None, error.absence, None)
        except (TimeoutError, RefusedByDaemonError):
            return Standing(None, Absence.NOT_ANSWERING, None)
        try:
            in_force = await self.daemon.ask({"command": "in_force"}, timeout_s=TIMEOUT_S)
        except (NoDaemonError, RefusedByDaemonError, TimeoutError):
            in_force = None
        return Standing(live, Absence.NOT_ANSWERING, in_force)

    async def look(self, look: Callable[[Snapshot], T]) -> T:
        """Return what `look` finds in a snapshot of the queue. Raises `QueueUnreadableError`."""
        async with self._shares.turn():
            return await self._look(look)

    def kept_look(self, look: Callable[[Snapshot], T]) -> Callable[[], Awaitable[T]]:
        """Return what gets what `look` finds, or found for another page not long ago.

        It takes nobody's turn: who looks does so for all.
        """
        kept = self.forgotten(Kept[T](KEPT_S))
        return partial(kept.get, partial(self._look, look))

    def forgotten(self, kept: Kept[T]) -> Kept[T]:
        """Have something forgotten when something is changed; return it."""
        self._kept.append(kept)
        return kept

    async def _look(self, look: Callable[[Snapshot], T]) -> T:
        def read() -> T:
            with self._queue.snapshot(limit_s=SNAPSHOT_S) as snapshot:
                return look(snapshot)

        found = await run_sync(read, limiter=self._limiter)
        self._trouble.ends()
        return found

    async def render(
        self,
        visitor: Visitor,
        name: str,
        standing: Standing,
        values: Mapping[str, Any],
        status: HTTPStatus = HTTPStatus.OK,
    ) -> Response:
        """Return a page made of a template."""
        render = partial(
            self._templates.get_template(name).render,
            {"visitor": visitor, "down": standing.down, "now": time.time(), **values},
        )
        async with self._shares.turn():
            text = await run_sync(render, limiter=self._limiter)
        return HTMLResponse(text, status)

    def problem(self, problem: ProblemError) -> Response:
        """Return the page that says why there is no other."""
        text = self._templates.get_template("problem.html").render(problem=problem, visitor=None)
        return safe(HTMLResponse(text, problem.status, problem.headers))

    def login(self, status: HTTPStatus, **values: object) -> Response:
        """Return the page to log in."""
        text = self._templates.get_template("login.html").render(visitor=None, **values)
        return safe(HTMLResponse(text, status))


def safe(response: Response) -> Response:
    """Return a response with the headers that each page has."""
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    return response


def _to_login(request: Request) -> Response:
    if request.headers.get("sec-fetch-site") == "cross-site":
        # A link from elsewhere comes without the cookie (SameSite=Strict): from here it comes with it.
        return HTMLResponse(
            '<!doctype html><meta http-equiv="refresh" content="0"><title>relayd</title>'
        )
    if request.headers.get("x-refresh"):
        return Response(status_code=HTTPStatus.UNAUTHORIZED)
    path = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/login?next={quote(path)}", HTTPStatus.SEE_OTHER)


def _digest_of_files() -> str:
    files = sorted((HERE / "static").iterdir())
    return hashlib.sha256(b"".join(each.read_bytes() for each in files)).hexdigest()[:12]
