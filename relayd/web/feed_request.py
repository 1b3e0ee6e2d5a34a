"""What a request for the feed asks, from its query. Raises `ProblemError` for what cannot be meant."""

from dataclasses import dataclass
from typing import Final

from starlette.datastructures import QueryParams

from relayd.core.feed import FeedCursor, parse_cursor
from relayd.web.query import check_names, number, patterns, refused

LIMIT: Final = 100
MOST_EVENTS: Final = 1_000
MOST_WAIT_S: Final = 50
"""Less than the 60 s after which proxies give up."""
MOST_TYPES: Final = 100


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """`after` is None at the beginning; `types` are patterns; `wait_s` is for when there is nothing."""

    after: FeedCursor | None
    limit: int
    types: tuple[str, ...]
    wait_s: int


def read_request(query: QueryParams) -> FeedRequest:
    """Return what it asks."""
    # A cursor under another name would begin from the oldest event, again and again.
    check_names(query, ("after", "limit", "wait"), ("type",))
    types = patterns(query, "type", MOST_TYPES)
    after = None
    if "after" in query and (after := parse_cursor(query["after"])) is None:
        raise refused("after is the `next` of an earlier answer; leave it out to begin")
    return FeedRequest(
        after,
        number(query, "limit", LIMIT, 1, MOST_EVENTS),
        types,
        number(query, "wait", 0, 0, MOST_WAIT_S),
    )
