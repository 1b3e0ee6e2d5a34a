"""Refuses requests that a proxy in front may cut elsewhere than this server: the rest would be another's request.

RFC 9112, 6.1: a request with Transfer-Encoding and Content-Length, or one of HTTP/1.0 with Transfer-Encoding,
may be an attempt to smuggle one. The connection is closed, with all that follows.
"""

from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from relayd.web.problem import ProblemError


class Framing:
    """An application that answers requests with one end alone."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a problem, or let the request pass."""
        app = self._app
        if scope["type"] == "http":
            names = {name for name, _ in scope["headers"]}
            has_two = b"content-length" in names or scope["http_version"] == "1.0"
            if b"transfer-encoding" in names and has_two:
                app = _PROBLEM.response()
        await app(scope, receive, send)


_PROBLEM = ProblemError(
    HTTPStatus.BAD_REQUEST,
    "two_lengths",
    "a request has Transfer-Encoding or Content-Length, and not both",
    {"Connection": "close"},
)
