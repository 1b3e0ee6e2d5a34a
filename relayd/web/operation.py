"""An operation of the web process: what answers it, and what the OpenAPI document says of it.

Routes and document are made of the same list, so that neither has a path that the other lacks.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final, Literal

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, request_response
from starlette.types import ASGIApp, Receive, Scope, Send

from relayd.web.problem import ProblemError

Schema = Mapping[str, Any]
Handler = Callable[[Request], Awaitable[Response]]

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter. `many` may be repeated."""

    name: str
    says: str
    schema: Schema
    place: Literal["query", "path", "header"] = "query"
    many: bool = False


@dataclass(frozen=True, slots=True)
class Content:
    """A body, by media type; `says` what it is. Without `media` there is none."""

    says: str
    media: Mapping[str, Schema]
    headers: Mapping[str, str] | None = None
    """What the headers of an answer say, by name."""
    example: object = None


@dataclass(frozen=True, slots=True)
class Operation:
    """One method at one path. `answers` are by status; `problems` are statuses with a problem document.

    `open_to_all` needs no token, `public` is served at `http.public` too.
    """

    method: str
    path: str
    app: Handler | ASGIApp
    name: str
    summary: str
    says: str
    answers: Mapping[int, Content]
    problems: Mapping[int, str]
    parameters: tuple[Parameter, ...] = ()
    body: Content | None = None
    open_to_all: bool = False
    public: bool = False


def routes_of(operations: Iterable[Operation]) -> list[Route]:
    """Return a route for each path, which answers 405 with `Allow` to any other method."""
    found: dict[str, dict[str, ASGIApp]] = {}
    for each in operations:
        found.setdefault(each.path, {})[each.method] = _as_app(each.app)
    return [Route(path, _Methods(apps)) for path, apps in found.items()]


def _as_app(app: Handler | ASGIApp) -> ASGIApp:
    # A class's instance is an ASGI application of its own, as Starlette has it.
    is_method = hasattr(app, "__func__") or hasattr(app, "__code__")
    return request_response(app) if is_method else app  # type: ignore[arg-type, return-value]  # told apart above


class _Methods:
    """Answers the methods of one path."""

    def __init__(self, apps: Mapping[str, ASGIApp]) -> None:
        self._apps = apps
        methods = set(apps) | ({"HEAD"} if "GET" in apps else set())
        self._allow = ", ".join(sorted(methods))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method = "GET" if scope["method"] == "HEAD" else scope["method"]
        app = self._apps.get(method)
        if app is None:
            raise ProblemError(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "method_not_allowed",
                f"this path answers {self._allow}",
                {"Allow": self._allow},
            )
        await app(scope, receive, send)
