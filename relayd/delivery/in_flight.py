"""What is being attempted, at all endpoints together, and which claims are out of date.

A claim says what was due when the queue was asked. By the time it comes back, a reload may have
moved its subscription to another endpoint, or the operator may have paused, replayed or cancelled.
So whoever changes what may be attempted for a subscription calls `outdate`, and a claim that was
asked for before starts nothing of that subscription. What is left is asked for again.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping


class InFlight:
    """The deliveries that are being attempted, and a version of each subscription.

    By subscription, not by endpoint: a reload may move a subscription to another endpoint while its
    deliveries are in flight at the old one.
    """

    def __init__(self) -> None:
        self._by_subscription: defaultdict[str, set[int]] = defaultdict(set)
        self._all: set[int] = set()
        self._keys: dict[int, tuple[str, str]] = {}
        self._by_place: dict[tuple[str, str], int] = {}
        self._refused: dict[int, dict[int, str]] = {}
        self._versions: defaultdict[str, int] = defaultdict(int)

    def begin(self, subscription: str, seq: int, order_key: str | None = None) -> bool:
        """Take a delivery, by its number; False when it is being attempted already.

        Also when another one with its `order_key` is. One that is refused is `busy` until the attempt
        that it waits for has ended: the queue would find it again and again.
        """
        if seq in self._all:
            return self._refuse(subscription, seq, seq)
        if order_key is not None:
            place = (subscription, order_key)
            if (other := self._by_place.get(place)) is not None:
                return self._refuse(subscription, seq, other)
            self._by_place[place] = seq
            self._keys[seq] = place
        self._all.add(seq)
        self._by_subscription[subscription].add(seq)
        return True

    def _refuse(self, subscription: str, seq: int, other: int) -> bool:
        self._refused.setdefault(other, {})[seq] = subscription
        return False

    def end(self, subscription: str, seq: int) -> Collection[str]:
        """Give back a delivery that `begin` took.

        Returns the subscriptions of which others were refused because of it: they are due now.
        """
        self._all.discard(seq)
        if self._keys and seq in self._keys:
            del self._by_place[self._keys.pop(seq)]
        self._by_subscription[subscription].discard(seq)
        return set(self._refused.pop(seq).values()) if seq in self._refused else ()

    def of(self, subscriptions: Iterable[str]) -> frozenset[int]:
        """Return the numbers of these subscriptions' deliveries that are being attempted."""
        return frozenset().union(*(self._by_subscription.get(name, ()) for name in subscriptions))

    def busy(self, subscriptions: Iterable[str]) -> frozenset[int]:
        """Return the same, and those that were refused and wait for an attempt to end."""
        if not self._refused:
            return self.of(subscriptions)
        names = tuple(subscriptions)
        refused = (
            seq for each in self._refused.values() for seq, name in each.items() if name in names
        )
        return self.of(names).union(refused)

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
