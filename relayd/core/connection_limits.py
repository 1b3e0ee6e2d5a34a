"""When the web process closes a connection: the limits of each phase that it can be in."""

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
"""All connections together. One more takes the place of the one that has been idle the longest."""


def has_expired(phase: Phase, age_s: float) -> bool:
    """Return whether a connection that has been in a phase for `age_s` seconds is closed."""
    limit_s = LIMITS_S.get(phase)
    return limit_s is not None and age_s >= limit_s
