"""The web process's application: every path that it serves, and who reaches it."""

from collections.abc import Sequence

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from relayd.web.defects import Contained
from relayd.web.events_in import EventsIn
from relayd.web.feed import Feed
from relayd.web.framing import Framing
from relayd.web.health import Health
from relayd.web.in_force import InForce
from relayd.web.metrics import Metrics
from relayd.web.own_host import OwnHost
from relayd.web.problem import ProblemError


def make_app(
    in_force: InForce,
    health: Health,
    metrics: Metrics,
    events: EventsIn,
    feed: Feed,
    *,
    public: bool,
    dashboard: Sequence[Route] = (),
) -> Starlette:
    """Return the application; with `public`, what the internet may reach, and no more."""
    routes = [
        Route("/v1/events", events.post, methods=["POST"]),
        Route("/v1/events", feed, methods=["GET"]),
    ]
    if not public:
        routes += [Route("/healthz", health.answer), Route("/readyz", health.answer)]
        routes.append(Route("/metrics", metrics.answer))
        routes += dashboard
    app = Starlette(
        routes=routes,
        exception_handlers={ProblemError: _answer_problem},
        # At `public` nobody may do anything without a token or a signature, whatever a browser sends.
        middleware=[
            Middleware(Contained),
            Middleware(Framing),
            *([] if public else [Middleware(OwnHost)]),
        ],
    )
    # Such a redirect names http:// and the Host that was sent, whatever the proxy in front has.
    app.router.redirect_slashes = False
    app.state.in_force = in_force
    # By the address that is listened at, which may be another than that of the configuration in force.
    app.state.may_be_open = not public and in_force.document.access.listen.is_private
    return app


async def _answer_problem(_: Request, error: Exception) -> Response:
    assert isinstance(error, ProblemError)
    return error.response()
