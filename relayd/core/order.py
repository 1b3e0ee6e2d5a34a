"""`order_by`: which events of a subscription are sent one after the other, and for how long one can block.

The value at its path is an event's key: a string or a number. Those with the same key are in order,
by their sequence numbers; an event without a key is in none.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from relayd.core.conditions import Parts, parts_of, values_at
from relayd.core.object_id import id_text
from relayd.core.retry import JITTER
from relayd.core.where import path_problem


@dataclass(frozen=True, slots=True)
class OrderBy:
    """What orders a subscription's events. `hold`: an exhausted one blocks those behind it."""

    path: str
    hold: bool = False
    parts: Parts = field(default=(), compare=False, repr=False)

    def key(self, envelope: Mapping[str, Any], values: Mapping[str, list[object]]) -> str | None:
        """Return an event's key, None where it has none. `values` are those at known paths."""
        found = values.get(self.path)
        return key_of_values(values_at(self.parts, envelope) if found is None else found)


def order_by(path: str, *, hold: bool = False) -> OrderBy:
    """Return what a path that has no `order_problem` means."""
    return OrderBy(path, hold, parts_of(path))


def order_problem(path: str) -> str | None:
    """Say why events cannot be ordered by what is at a path, or return None."""
    problem = path_problem(path)
    if problem is not None:
        return problem
    _, *below = path.split(".")
    if "*" in below or any(part.isdigit() for part in below):
        return "looks into a list; an event is ordered by one value, such as data.object.id"
    return (
        "has an object there; name one of its fields, such as data.object.id"
        if path == "data"
        else None
    )


def key_of_values(found: Sequence[object]) -> str | None:
    """Return the key that a value at the path makes: text, also of a number.

    A text that is longer than an id, or that no database takes, is replaced by its digest.
    """
    if len(found) != 1:
        return None
    value = found[0]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    text = id_text(value)
    if text is None and isinstance(value, str) and value:
        return f"sha256:{sha256(value.encode(errors='surrogatepass')).hexdigest()}"
    return text


def longest_block_s(retry: Sequence[float], timeout_s: float) -> float:
    """Return for how many seconds one failing event can block its key: its whole schedule, at most."""
    return sum(retry) * (1 + JITTER) + timeout_s * (len(retry) + 1)
