"""The subscriptions in force, as they are interpreted, and how each stands: `check` and `status` in one document."""

from collections.abc import Iterable, Mapping
from typing import Any

from relayd.core.hold import Hold
from relayd.queue.overview_values import Overview
from relayd.views.status import standing_document


def subscriptions_document(
    configured: Iterable[Mapping[str, Any]], overview: Overview
) -> dict[str, object]:
    """Return the subscriptions of `QUEUE.web`, each with its `status`; None where the queue has none yet.

    `removed` are those that the configuration no longer has, with deliveries that have not ended.
    """
    standing = {
        each.name: each for endpoint in overview.endpoints for each in endpoint.subscriptions
    }
    return {
        "subscriptions": [
            {
                **each,
                "status": standing_document(standing[each["name"]])
                if each["name"] in standing
                else None,
            }
            for each in configured
        ],
        "removed": [
            standing_document(each) for each in standing.values() if each.hold is Hold.REMOVED
        ],
    }
