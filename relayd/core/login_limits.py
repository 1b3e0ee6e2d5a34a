"""How often somebody may try a token, or a signature: for each address, and for all together.

Only what fails counts. An address that has succeeded is not held up by what others do.
"""

from collections import OrderedDict
from typing import Final

from relayd.core.token_bucket import Rate, TokenBucket

FOR_ONE: Final = Rate(50, 600.0)
FOR_ALL: Final = Rate(3_000, 600.0)
MOST_ADDRESSES: Final = 1_000
"""So many are remembered. Whoever has more is bound by what all may."""


class LoginLimits:
    """Counts what failed. Times are seconds of a monotonic clock; the buckets begin full."""

    def __init__(self, for_one: Rate = FOR_ONE, for_all: Rate = FOR_ALL) -> None:
        self._for_one = for_one
        self._all = _full(for_all)
        self._by_address: OrderedDict[str, TokenBucket] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()

    def wait_s(self, address: str, now: float) -> float:
        """Return how long this address must wait before it may try; 0 where it may."""
        own = self.own_wait_s(address, now)
        return own if address in self._known else max(own, self._all.at(now).wait_s)

    def own_wait_s(self, address: str, now: float) -> float:
        """Return how long it must wait for what failed at this address alone."""
        return self._by_address.get(address, _full(self._for_one)).at(now).wait_s

    def is_known(self, address: str) -> bool:
        """Return whether this address has succeeded, and is still remembered."""
        return address in self._known

    def failed(self, address: str, now: float) -> None:
        """Note that a try failed."""
        own = self._by_address.pop(address, _full(self._for_one)).at(now)
        self._by_address[address] = own.take(min(1, own.available))
        while len(self._by_address) > MOST_ADDRESSES:
            self._by_address.popitem(last=False)
        self._all = self._all.at(now)
        self._all = self._all.take(min(1, self._all.available))

    def succeeded(self, address: str) -> None:
        """Note that somebody at this address has a token."""
        self._by_address.pop(address, None)
        self._known[address] = None
        self._known.move_to_end(address)
        while len(self._known) > MOST_ADDRESSES:
            self._known.popitem(last=False)


def _full(rate: Rate) -> TokenBucket:
    return TokenBucket(rate, float(rate.burst), 0.0)
