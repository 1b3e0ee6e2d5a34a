"""The dashboard's paths. Each page has one of its own, to share."""

from starlette.routing import Route

from relayd.queue.snapshot import QueueReader
from relayd.web.daemon_link import DaemonLink
from relayd.web.dashboard.login import Login
from relayd.web.dashboard.overview import OverviewPage
from relayd.web.dashboard.site import Site
from relayd.web.dashboard.static_files import StaticFiles


def dashboard_routes(daemon: DaemonLink, queue: QueueReader) -> list[Route]:
    """Return them, with all that answers them."""
    site = Site(daemon, queue)
    login = Login(site)
    return [
        Route("/", site.page(OverviewPage(site).show)),
        Route("/login", login.show),
        Route("/login", login.enter, methods=["POST"]),
        Route("/logout", site.page(login.leave), methods=["POST"]),
        Route("/static/{name}", StaticFiles().answer),
    ]
