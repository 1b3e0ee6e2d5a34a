"""When the web process closes a connection: the limits of each phase that it can be in, and who makes room."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Phase(StrEnum):
    """What a connection is at."""

    HEAD = "head"
    """Nothing yet, or a part of a request's head: it is idle, or the client is slow."""
    BODY = "body"
    """A request's head is complete, its body is not."""
    ANSWER = "answer"
    """relayd works on the answer. It has limits of its own."""
    SENDING = "sending"
    """The client has not taken all of the answer that is ready."""


LIMITS_S: Final = {Phase.HEAD: 10.0, Phase.BODY: 30.0, Phase.SENDING: 120.0}
"""How long a phase may last, in all, whatever trickles meanwhile. Nobody needs longer for a head or a
body behind a proxy or on the machine's own network, and each connection takes a file descriptor. The
largest page of the feed, 8 MiB, is sent in 120 s at 0.6 Mbit/s."""

CONNECTIONS: Final = 512
"""At each address. One more takes a place of the client that has the most: see `makes_room`."""

_GOES: Final = (Phase.HEAD, Phase.BODY, Phase.SENDING, Phase.ANSWER)
"""What goes first: what is idle, then what waits for its client."""


@dataclass(frozen=True, slots=True)
class Place:
    """A connection's client, as `limited_as` has its address, its phase, and since when it is in that."""

    client: str
    phase: Phase
    since: float


def has_expired(phase: Phase, age_s: float) -> bool:
    """Return whether a connection that has been in a phase for `age_s` seconds is closed."""
    limit_s = LIMITS_S.get(phase)
    return limit_s is not None and age_s >= limit_s


def makes_room(places: Sequence[Place], client: str) -> int | None:
    """Return which of the places one more connection of `client` takes; None where it gets none.

    It is one of the client that has the most, so that no client keeps another one out: idle ones go
    first, then those that wait for their client, the longest first. An answer that relayd works on never
    makes room for its own client.
    """
    counts = Counter(each.client for each in places)
    counts[client] += 1
    most = max(counts.values())
    can = [index for index, each in enumerate(places) if counts[each.client] == most]
    first = min(
        can, key=lambda index: (_GOES.index(places[index].phase), places[index].since), default=None
    )
    if first is None:
        return None
    goes = places[first]
    return None if goes.phase is Phase.ANSWER and goes.client == client else first
