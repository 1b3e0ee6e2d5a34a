"""What a request for the feed asks, from its query. Raises `ProblemError` for what cannot be meant."""

import re
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

from starlette.datastructures import QueryParams

from relayd.core.feed import FeedCursor, parse_cursor
from relayd.core.patterns import is_pattern
from relayd.web.problem import ProblemError

LIMIT: Final = 100
MOST_EVENTS: Final = 1_000
MOST_WAIT_S: Final = 50
"""Less than the 60 s after which proxies give up."""
MOST_TYPES: Final = 100

_ONCE: Final = ("after", "limit", "wait")
_NAMES: Final = (*_ONCE, "type")


@dataclass(frozen=True, slots=True)
class FeedRequest:
    """`after` is None at the beginning; `types` are patterns; `wait_s` is for when there is nothing."""

    after: FeedCursor | None
    limit: int
    types: tuple[str, ...]
    wait_s: int


def read_request(query: QueryParams) -> FeedRequest:
    """Return what it asks."""
    for name in query:
        if name not in _NAMES:
            # A cursor under another name would begin from the oldest event, again and again.
            raise _refused(f"there is no such parameter; the feed has {', '.join(_NAMES)}")
        if name in _ONCE and len(query.getlist(name)) > 1:
            raise _refused(f"{name} is given more than once")
    types = tuple(query.getlist("type"))
    if len(types) > MOST_TYPES or not all(map(is_pattern, types)):
        raise _refused("type is an event type or a pattern, such as order.created or order.*")
    after = None
    if "after" in query and (after := parse_cursor(query["after"])) is None:
        raise _refused("after is the `next` of an earlier answer; leave it out to begin")
    return FeedRequest(
        after,
        _number(query, "limit", LIMIT, 1, MOST_EVENTS),
        types,
        _number(query, "wait", 0, 0, MOST_WAIT_S),
    )


def _number(query: QueryParams, name: str, default: int, least: int, most: int) -> int:
    if name not in query:
        return default
    text = query[name]
    if not re.fullmatch(r"[0-9]{1,6}", text) or not least <= int(text) <= most:
        raise _refused(f"{name} is a number from {least} to {most:,}")
    return int(text)


def _refused(detail: str) -> ProblemError:
    return ProblemError(HTTPStatus.BAD_REQUEST, "bad_request", detail)
