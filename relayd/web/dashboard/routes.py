"""The dashboard's paths. Each page has one of its own, to share."""

from starlette.routing import Route

from relayd.queue.snapshot import QueueReader
from relayd.web.body import Bodies
from relayd.web.daemon_link import DaemonLink
from relayd.web.dashboard.configuration import ConfigurationPage
from relayd.web.dashboard.deliveries import DeliveryPages
from relayd.web.dashboard.events import EventPages
from relayd.web.dashboard.login import Login
from relayd.web.dashboard.looking import Looking
from relayd.web.dashboard.overview import OverviewPage
from relayd.web.dashboard.problems import ProblemsPage
from relayd.web.dashboard.site import Site
from relayd.web.dashboard.static_files import StaticFiles
from relayd.web.webhook_counts import WebhookCounts


def dashboard_routes(
    daemon: DaemonLink, queue: QueueReader, bodies: Bodies, webhooks: WebhookCounts
) -> list[Route]:
    """Return them, with all that answers them."""
    site = Site(daemon, queue)
    login = Login(site, bodies)
    looking = Looking(site)
    deliveries, events = DeliveryPages(site, looking), EventPages(site, looking)
    return [
        Route("/", site.page(OverviewPage(site, webhooks).show)),
        Route("/deliveries", site.page(deliveries.list)),
        Route("/deliveries/{id}", site.page(deliveries.show)),
        Route("/events", site.page(events.list)),
        Route("/events/{id}", site.page(events.show)),
        Route("/events/{id}/body", site.page(events.body)),
        Route("/find", site.page(events.find)),
        Route("/problems", site.page(ProblemsPage(site).show)),
        Route("/configuration", site.page(ConfigurationPage(site).show)),
        Route("/login", login.show),
        Route("/login", login.enter, methods=["POST"]),
        Route("/logout", site.page(login.leave), methods=["POST"]),
        Route("/static/{name}", StaticFiles().answer),
    ]
