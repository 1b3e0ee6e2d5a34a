"""What a request's query asks. Raises `ProblemError` for what cannot be meant.

A parameter that is not known is refused: a misspelled filter would let all through.
"""

import re
import time
from collections.abc import Collection
from http import HTTPStatus

from starlette.datastructures import QueryParams

from relayd.config.moments import MOMENT_FORMS, MOMENT_PATTERN, parse_moment
from relayd.core.patterns import is_pattern
from relayd.web.problem import ProblemError


def check_names(query: QueryParams, once: Collection[str], many: Collection[str]) -> None:
    """Check that the query has these parameters alone, and those of `once` once."""
    for name in query:
        if name not in once and name not in many:
            known = ", ".join((*once, *many)) or "none"
            raise refused(f"there is no such parameter; this path has {known}")
        if name in once and len(query.getlist(name)) > 1:
            raise refused(f"{name} is given more than once")


def number(query: QueryParams, name: str, default: int, least: int, most: int) -> int:
    """Return a whole number."""
    if name not in query:
        return default
    text = query[name]
    if not re.fullmatch(r"[0-9]{1,6}", text) or not least <= int(text) <= most:
        raise refused(f"{name} is a number from {least} to {most:,}")
    return int(text)


def moment(query: QueryParams, name: str) -> float | None:
    """Return a time in Unix seconds."""
    if name not in query:
        return None
    text = query[name]
    found = parse_moment(text, time.time()) if re.fullmatch(MOMENT_PATTERN, text) else None
    if found is None:
        raise refused(f"{name} is not a time: give {MOMENT_FORMS}")
    return found


def patterns(query: QueryParams, name: str, most: int) -> tuple[str, ...]:
    """Return patterns of event types."""
    found = several(query, name, most)
    if not all(map(is_pattern, found)):
        raise refused(f"{name} is an event type or a pattern, such as order.created or order.*")
    return found


def several(query: QueryParams, name: str, most: int) -> tuple[str, ...]:
    """Return all values of a parameter that may be repeated."""
    found = tuple(dict.fromkeys(query.getlist(name)))
    if len(found) > most:
        raise refused(f"{name} may be given {most:,} times")
    return found


def text(query: QueryParams, name: str, most: int) -> str | None:
    """Return a text of 1 to `most` characters."""
    if name not in query:
        return None
    if not 0 < len(query[name]) <= most:
        raise refused(f"{name} has 1 to {most:,} characters")
    return query[name]


def refused(detail: str) -> ProblemError:
    """Return the problem of a query."""
    return ProblemError(HTTPStatus.BAD_REQUEST, "bad_request", detail)
