"""Patterns of event types.

A pattern is an exact type (`order.created`), everything below a word (`order.*`, which is not
`order` itself), or `*`. `*` is every type but relayd's own `relayd.*`: a chat's webhook on `*`
would otherwise be told of its own failures. Those are subscribed to by name, or as `relayd.*`.
"""

import re
from collections.abc import Container
from typing import Final

OWN_PREFIX: Final = "relayd."
"""The types of relayd's own events begin with this."""

_PATTERN: Final = re.compile(r"\*|[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*(\.\*)?")


def is_pattern(text: str) -> bool:
    """Tell whether `text` is a well-formed pattern of event types."""
    return _PATTERN.fullmatch(text) is not None


def is_known(event_type: str, types: Container[str], prefixes: tuple[str, ...]) -> bool:
    """Tell whether a type, or pattern, is one of `types`, or begins as one of `prefixes`, as `stripe.`."""
    return event_type in types or event_type.startswith(prefixes)


def pattern_matches(pattern: str, event_type: str) -> bool:
    """Tell whether a well-formed pattern matches an event type."""
    if pattern == "*":
        return not event_type.startswith(OWN_PREFIX)
    if pattern.endswith(".*"):
        return event_type.startswith(pattern.removesuffix("*"))
    return pattern == event_type
