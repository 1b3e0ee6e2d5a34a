"""What goes wrong: failures by cause and subscription over time, and how long receivers take."""

import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response

from relayd.core.delivery import delivery_id
from relayd.core.endpoint import endpoint_name
from relayd.core.outcome import shown_status
from relayd.queue.overview_values import FailureCount, Failures, Overview
from relayd.queue.snapshot import Snapshot
from relayd.queue.snapshot_values import ListedInput
from relayd.views.rejected import listed_document
from relayd.web.dashboard.charts import HOURS, distribution, stack
from relayd.web.dashboard.site import Site
from relayd.web.dashboard.visitor import Visitor

MOST: Final = 50
"""Rows of each table."""


class ProblemsPage:
    """Answers `/problems`."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._look = site.kept_look(_look)

    async def show(self, request: Request, visitor: Visitor) -> Response:
        """Show what failed in the last 24 hours."""
        standing = await self._site.standing()
        first, tag, failures, overview, rejected = await self._look()
        counts = failures.counts
        wanted = request.query_params.get("endpoint", "")
        names = sorted({endpoint_name(each.url) for each in overview.endpoints})
        return await self._site.render(
            visitor,
            "problems.html",
            standing,
            {
                "here": "/problems",
                "chart": stack(
                    [(each.since, cause_of(each), each.count) for each in counts], first, _hour
                ),
                "causes": _causes(counts, tag)[:MOST],
                "failed": sum(each.count for each in counts),
                "complete": failures.complete,
                "times": distribution(_response_classes(overview, wanted)),
                "names": names,
                "wanted": wanted if wanted in names else "",
                "rejected": list(map(listed_document, rejected)),
                "rejected_count": overview.queue.rejected,
            },
        )


def _look(snapshot: Snapshot) -> tuple[int, str, Failures, Overview, Sequence[ListedInput]]:
    now = time.time()
    first = (int(now) // 3600 - HOURS + 1) * 3600
    return (
        first,
        snapshot.tag,
        snapshot.failures(since=first, until=now),
        snapshot.overview(now=now),
        snapshot.list_rejected(limit=MOST),
    )


def cause_of(each: FailureCount) -> str:
    """Return a cause in a word or two, with the status where there was one."""
    cause = each.cause.replace("_", " ")
    return cause if each.status is None else f"{cause} {shown_status(each.status)}"


def _causes(counts: Sequence[FailureCount], tag: str) -> list[dict[str, Any]]:
    """Return the causes of each subscription, those with the most failures first."""
    found: dict[tuple[str, str], list[FailureCount]] = defaultdict(list)
    for each in counts:
        found[each.subscription, cause_of(each)].append(each)
    rows = []
    for (name, cause), hours in found.items():
        last = max(hours, key=lambda each: each.last_at)
        rows.append(
            {
                "subscription": name,
                "cause": cause,
                "count": sum(each.count for each in hours),
                "last_at": last.last_at,
                "detail": last.detail,
                "delivery": delivery_id(tag, last.delivery),
            }
        )
    return sorted(rows, key=lambda row: (-row["count"], row["subscription"], row["cause"]))


def _response_classes(overview: Overview, wanted: str) -> Mapping[int, int]:
    """Return the last day's response times, of the endpoints with this name or of all."""
    total: Counter[int] = Counter()
    for each in overview.endpoints:
        if not wanted or endpoint_name(each.url) == wanted:
            total += each.tallies.last_day.response_classes
    return total


def _hour(since: int) -> str:
    return datetime.fromtimestamp(since).astimezone().strftime("%H:%M")
