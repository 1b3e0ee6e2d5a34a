"""What the subscriptions in force want, of the document that the daemon wrote for the web process."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relayd.config.values import parse_rate
from relayd.core.endpoint import Endpoint
from relayd.core.matching import Selection
from relayd.core.where import compile_where
from relayd.views.web_document import WebDocument


@dataclass(frozen=True, slots=True)
class WantedBy:
    """What one subscription wants, and whether it takes new events."""

    selection: Selection
    active: bool


@dataclass(frozen=True, slots=True)
class Wanted:
    """What all of them want. The configuration in force is never in doubt."""

    subscriptions: Mapping[str, WantedBy]
    doubtful: frozenset[str] = field(default=frozenset())


def wanted_of(document: WebDocument) -> Wanted:
    """Return what each subscription wants, in the configuration's order."""
    return Wanted(
        {
            each["name"]: WantedBy(
                Selection(tuple(each["events"]), compile_where(each["where"])), each["active"]
            )
            for each in document.settings["subscriptions"]
        }
    )


def endpoints_of(document: WebDocument, urls: Mapping[str, str]) -> dict[str, Endpoint]:
    """Return the endpoints by their URLs, which `urls` has by subscription, as far as they are limited."""
    found = {}
    for each in document.settings["subscriptions"]:
        rate = parse_rate(each["rate_limit"])
        if rate is not None and (url := urls.get(each["name"])) is not None:
            found[url] = Endpoint(url, rate, each["max_in_flight"])
    return found
