"""Judges one request of a provider: verifies it first, then maps what it says to an event."""

from collections.abc import Sequence

from relayd.core.inbound.entry import Inbound
from relayd.core.inbound.verdict import Refused, RefusalCode, Verdict

RawHeaders = Sequence[tuple[bytes, bytes]]
"""As ASGI has them: names in lower case, values without the spaces around them."""


def receive(entry: Inbound, headers: RawHeaders, body: bytes, *, now: float) -> Verdict:
    """Return what becomes of a request. `now` is in Unix seconds. Never raises, whatever the bytes.

    Where the entry's `networks` do not admit its sender, or the body is too large, it is not asked.
    """
    return Refused(RefusalCode.NO_SIGNATURE, f"{entry.provider} is not verified yet")
