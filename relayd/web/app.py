"""The web process's application: every path that it serves."""

from starlette.applications import Starlette
from starlette.routing import Route

from relayd.web.daemon_link import DaemonLink
from relayd.web.health import Health
from relayd.web.in_force import InForce


def make_app(in_force: InForce, daemon: DaemonLink, *, public: bool) -> Starlette:
    """Return the application; with `public`, what the internet may reach, and no more."""
    health = Health(daemon)
    private = [
        Route("/healthz", health.answer),
        Route("/readyz", health.answer),
    ]
    routes: list[Route] = [] if public else private
    app = Starlette(routes=routes)
    app.state.in_force = in_force
    app.state.is_public = public
    return app
