"""Logging in with a token, and out."""

import math
import time
from http import HTTPStatus
from typing import Final
from urllib.parse import parse_qsl

import structlog
from starlette.datastructures import QueryParams
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from relayd.core.login_limits import LoginLimits
from relayd.core.same_site import own_path
from relayd.core.web_access import Role, digest
from relayd.web.body import Bodies
from relayd.web.dashboard.site import NOT_FOR_PAGES, Site, safe
from relayd.web.dashboard.visitor import (
    Visitor,
    address_of,
    check_form,
    cookie_of,
    set_cookie,
)
from relayd.web.followed_document import document_of
from relayd.web.problem import ProblemError

_log = structlog.get_logger()

MOST_BYTES: Final = 64 * 1024
"""Of a form."""

MOST_FIELDS: Final = 20_000
"""Of a form: a box for each event type is one."""


async def form_of(request: Request, bodies: Bodies, most_bytes: int = MOST_BYTES) -> QueryParams:
    """Return a form's fields. Raises `ProblemError`."""
    async with bodies.whole(request, most_bytes, address_of(request)) as raw:
        # Millions of empty ones would take a hundred times the memory of the body.
        if raw.count(b"&") >= MOST_FIELDS:
            raise ProblemError(HTTPStatus.BAD_REQUEST, "bad_form", "the form has too many fields")
        return QueryParams(parse_qsl(raw.decode(errors="replace"), keep_blank_values=True))


class Login:
    """Answers `/login` and `/logout`."""

    def __init__(self, site: Site, bodies: Bodies) -> None:
        self._site = site
        self._bodies = bodies
        self._limits = LoginLimits()

    async def show(self, request: Request) -> Response:
        """Show the form; go on where nobody needs it."""
        onward = own_path(request.query_params.get("next", "/"))
        if self._site.visitors.who(request) is not None:
            return safe(RedirectResponse(onward, HTTPStatus.SEE_OTHER))
        return self._site.login(HTTPStatus.OK, onward=onward, refused=None)

    async def enter(self, request: Request) -> Response:
        """Begin a session, and go on to the page that was asked for."""
        try:
            form = await form_of(request, self._bodies)
        except ProblemError as problem:
            return self._site.problem(problem)
        onward = own_path(form.get("next", "/"))
        address = address_of(request)
        if (wait_s := self._limits.wait_s(address, time.monotonic())) > 0:
            response = self._site.login(
                HTTPStatus.TOO_MANY_REQUESTS,
                onward=onward,
                refused=f"Too many attempts. Try again in {math.ceil(wait_s)} s.",
            )
            response.headers["Retry-After"] = str(math.ceil(wait_s))
            return response
        token = form.get("token", "").strip()
        holder = document_of(request).access.holder(token)
        if holder is None or holder.role not in {Role.EVERYTHING, Role.READ}:
            self._limits.failed(address, time.monotonic())
            _log.warning("login_refused", address=address)
            refused = "This is not a token that relayd knows."
            if holder is not None:
                refused = NOT_FOR_PAGES
            return self._site.login(HTTPStatus.FORBIDDEN, onward=onward, refused=refused)
        self._limits.succeeded(address)
        _log.info("logged_in", address=address, role=holder.role.value)
        response = safe(RedirectResponse(onward, HTTPStatus.SEE_OTHER))
        set_cookie(request, response, self._site.visitors.sessions.begin(digest(token)))
        return response

    async def leave(self, request: Request, visitor: Visitor) -> Response:
        """End the session."""
        check_form(visitor, (await form_of(request, self._bodies)).get("form_key"), acts=False)
        self._site.visitors.sessions.end(cookie_of(request))
        response = RedirectResponse("/login", HTTPStatus.SEE_OTHER)
        set_cookie(request, response, "")
        return response
