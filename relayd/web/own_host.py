"""Refuses what a page of another site has a browser send: see `core.same_site`.

By DNS rebinding such a page uses what a browser, or this machine, may do without being asked: a session, and
`token: none`. It knows no token. So whoever sends one may ask by any name: Prometheus in a network of
containers has another than this process knows.
"""

from http import HTTPStatus
from typing import Final

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from relayd.core.same_site import is_own_host, is_own_origin
from relayd.web.bearer import token_holder
from relayd.web.followed_document import document_of
from relayd.web.problem import ProblemError

FOR_ANY: Final = frozenset({"/healthz", "/readyz"})
"""Probes ask by whatever name they have. They get no reasons then, unless they have a token."""

_SAFE: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""These change nothing, and a link on another site's page may lead here."""


class OwnHost:
    """An application that answers those alone who ask for it by its own name, or with a token."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a problem, or let the request pass."""
        problem = None
        if scope["type"] == "http" and scope["path"] not in FOR_ANY:
            request = Request(scope)
            has_token = token_holder(request) is not None
            problem = _wrong_origin(request) if has_token else foreign(request)
        await (self._app if problem is None else problem.response())(scope, receive, send)


def foreign(request: Request) -> ProblemError | None:
    """Return why a request may be that of another site's page, or None."""
    if not is_own_host(request.headers.get("host", ""), document_of(request).access):
        return ProblemError(
            HTTPStatus.MISDIRECTED_REQUEST,
            "wrong_host",
            "ask by address, as localhost or by the host of http.base_url, or send a token that is in force",
        )
    return _wrong_origin(request)


def _wrong_origin(request: Request) -> ProblemError | None:
    access = document_of(request).access
    if request.method not in _SAFE and not is_own_origin(request.headers, access):
        return ProblemError(
            HTTPStatus.FORBIDDEN, "wrong_origin", "a page of another site sent this request"
        )
    return None
