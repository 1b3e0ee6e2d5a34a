"""What is being attempted, at all endpoints together, and which claims are out of date.

A claim says what was due when the queue was asked. By the time it comes back, a reload may have
moved its subscription to another endpoint, or the operator may have paused, replayed or cancelled.
So whoever changes what may be attempted for a subscription calls `outdate`, and a claim that was
asked for before starts nothing of that subscription. What is left is asked for again.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping


class InFlight:
    """The deliveries that are being attempted, and a version of each subscription.

    By subscription, not by endpoint: a reload may move a subscription to another endpoint while its
    deliveries are in flight at the old one.
    """

    def __init__(self) -> None:
        self._by_subscription: defaultdict[str, set[int]] = defaultdict(set)
        self._all: set[int] = set()
        self._keys: dict[int, tuple[str, str]] = {}
        self._busy_keys: set[tuple[str, str]] = set()
        self._versions: defaultdict[str, int] = defaultdict(int)

    def begin(self, subscription: str, seq: int, order_key: str | None = None) -> bool:
        """Take a delivery, by its number; False when it is being attempted already.

        Also when another one with its `order_key` is: it was cancelled, and its attempt goes on.
        """
        if seq in self._all:
            return False
        if order_key is not None:
            place = (subscription, order_key)
            if place in self._busy_keys:
                return False
            self._busy_keys.add(place)
            self._keys[seq] = place
        self._all.add(seq)
        self._by_subscription[subscription].add(seq)
        return True

    def end(self, subscription: str, seq: int) -> None:
        """Give back a delivery that `begin` took."""
        self._all.discard(seq)
        if self._keys and seq in self._keys:
            self._busy_keys.discard(self._keys.pop(seq))
        self._by_subscription[subscription].discard(seq)

    def of(self, subscriptions: Iterable[str]) -> frozenset[int]:
        """Return the numbers of these subscriptions' deliveries that are being attempted."""
        return frozenset().union(*(self._by_subscription.get(name, ()) for name in subscriptions))

    def among(self, seqs: Iterable[int]) -> int:
        """Return how many of these deliveries are being attempted."""
        return len(self._all.intersection(seqs))

    def outdate(self, subscriptions: Iterable[str]) -> None:
        """Have claims start nothing of these subscriptions that were asked for before this."""
        for name in subscriptions:
            self._versions[name] += 1

    def versions(self, subscriptions: Iterable[str]) -> Mapping[str, int]:
        """Return what `is_current` compares, to be taken before the queue is asked."""
        return {name: self._versions.get(name, 0) for name in subscriptions}

    def is_current(self, subscription: str, versions: Mapping[str, int]) -> bool:
        """Return whether nothing has changed for a subscription since `versions` were taken."""
        return versions.get(subscription) == self._versions.get(subscription, 0)
