"""What the subscriptions in force want, of the document that the daemon wrote for the web process."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from relayd.core.endpoint import Endpoint
from relayd.views.web_document import WebDocument, WebSubscription


@dataclass(frozen=True, slots=True)
class Wanted:
    """What all of them want. The configuration in force is never in doubt."""

    subscriptions: Mapping[str, WebSubscription]
    doubtful: frozenset[str] = field(default=frozenset())


def wanted_of(document: WebDocument) -> Wanted:
    """Return what each subscription wants, in the configuration's order."""
    return Wanted(document.subscriptions)


def endpoints_of(document: WebDocument, urls: Mapping[str, str]) -> dict[str, Endpoint]:
    """Return the endpoints by their URLs, which `urls` has by subscription."""
    return {
        url: Endpoint(url, each.rate, each.max_in_flight)
        for name, each in document.subscriptions.items()
        if (url := urls.get(name)) is not None
    }
