"""The dashboard's paths. Each page has one of its own, to share."""

from starlette.routing import Route

from relayd.queue.snapshot import QueueReader
from relayd.web.body import Bodies
from relayd.web.daemon_link import DaemonLink
from relayd.web.dashboard.acting import Acting
from relayd.web.dashboard.configuration import ConfigurationPage
from relayd.web.dashboard.deliveries import DeliveryPages
from relayd.web.dashboard.delivery_actions import COMMANDS, DeliveryActions
from relayd.web.dashboard.events import EventPages
from relayd.web.dashboard.login import Login
from relayd.web.dashboard.looking import Looking
from relayd.web.dashboard.overview import OverviewPage
from relayd.web.dashboard.problems import ProblemsPage
from relayd.web.dashboard.rejected import RejectedPages
from relayd.web.dashboard.site import Page, Site
from relayd.web.dashboard.static_files import StaticFiles
from relayd.web.dashboard.subscription import SubscriptionPage
from relayd.web.dashboard.subscription_actions import SubscriptionActions
from relayd.web.dashboard.subscription_editing import SubscriptionEditing
from relayd.web.dashboard.subscription_rows import look_at_everything
from relayd.web.webhook_counts import WebhookCounts


def dashboard_routes(
    daemon: DaemonLink, queue: QueueReader, bodies: Bodies, webhooks: WebhookCounts
) -> list[Route]:
    """Return them, with all that answers them."""
    site = Site(daemon, queue)
    login = Login(site, bodies)
    looking = Looking(site)
    deliveries, events = DeliveryPages(site, looking), EventPages(site, looking)
    acting, everything = Acting(site, bodies), site.kept_look(look_at_everything)
    subscriptions = SubscriptionActions(acting, everything)
    return [
        *_acting_routes(acting, subscriptions, RejectedPages(site, acting)),
        Route("/subscriptions/{name}", site.page(SubscriptionPage(site, everything).show)),
        Route("/", site.page(OverviewPage(site, everything, webhooks).show)),
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


def _acting_routes(
    acting: Acting, subscriptions: SubscriptionActions, rejected: RejectedPages
) -> list[Route]:
    """Return those that change something: a GET asks, a POST acts."""
    deliveries, editing = DeliveryActions(acting), SubscriptionEditing(acting)
    of_one = "/subscriptions/{name}"
    both: list[tuple[str, Page, Page]] = [
        *((f"/act/{each}", deliveries.ask(each), deliveries.act(each)) for each in COMMANDS),
        ("/add", editing.new, editing.add),
        (f"{of_one}/edit", editing.edit, editing.change),
        (f"{of_one}/pause", subscriptions.ask_pause, subscriptions.pause),
        (f"{of_one}/resume", subscriptions.ask_resume, subscriptions.resume),
        (f"{of_one}/test", subscriptions.ask_test, subscriptions.test),
        (f"{of_one}/remove", subscriptions.ask_remove, subscriptions.remove),
        ("/rejected/resubmit", rejected.ask_all, rejected.resubmit_all),
        ("/rejected/{number}/drop", rejected.ask_drop, rejected.drop),
    ]
    routes = [Route("/rejected", acting.site.page(rejected.show_all))]
    for path, ask, act in both:
        routes.append(Route(path, acting.page(ask)))
        routes.append(Route(path, acting.page(act), methods=["POST"]))
    return [
        *routes,
        # After `/rejected/resubmit`. Not `number:int`, which raises for more digits than Python reads.
        Route("/rejected/{number}", acting.site.page(rejected.show)),
        Route("/rejected/{number}", acting.page(rejected.resubmit), methods=["POST"]),
    ]
