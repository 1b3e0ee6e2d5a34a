"""The web process's application: every path that it serves, and who reaches it."""

from collections.abc import Sequence
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relayd.web.defects import Contained
from relayd.web.followed_document import FollowedDocument
from relayd.web.framing import Framing
from relayd.web.operation import Operation, routes_of
from relayd.web.own_host import OwnHost
from relayd.web.problem import ProblemError
from relayd.web.webhooks_in import WebhooksIn


def make_app(
    followed: FollowedDocument,
    operations: Sequence[Operation],
    *,
    webhooks: WebhooksIn,
    public: bool,
    dashboard: Sequence[Route] = (),
) -> Starlette:
    """Return the application; with `public`, what the internet may reach, and no more."""
    served = [each for each in operations if each.public or not public]
    inbound = Route("/in/{name}", webhooks.post, methods=["POST"])
    app = Starlette(
        routes=[*routes_of(served), inbound, *dashboard],
        exception_handlers={ProblemError: _answer_problem, HTTPException: _answer_none},
        # At `public` nobody may do anything without a token or a signature, whatever a browser sends.
        middleware=[
            Middleware(Contained),
            Middleware(Framing),
            *([] if public else [Middleware(OwnHost)]),
        ],
    )
    # A path has one spelling: a redirect would go to whatever `Host` says.
    app.router.redirect_slashes = False
    app.state.followed = followed
    # By the address that is listened at, which may be another than that of the configuration in force.
    app.state.may_be_open = not public and followed.document.access.listen.is_private
    return app


async def _answer_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return error.response()


async def _answer_none(_: Request, error: Exception) -> Response:
    """Answer what no route does: there is no such path, or the dashboard has it for another method."""
    assert isinstance(error, HTTPException)
    status = HTTPStatus(error.status_code)
    words = "there is no such path" if status is HTTPStatus.NOT_FOUND else error.detail
    return ProblemError(status, status.name.lower(), words, error.headers).response()
