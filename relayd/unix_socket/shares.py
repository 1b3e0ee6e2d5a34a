"""An amount that tasks take and give back, of which each user has a share, and users take turns."""

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import trio


@dataclass(eq=False, slots=True)
class _Waiting:
    amount: int
    granted: trio.Event = field(default_factory=trio.Event)


class Shares:
    """`total` of something for all, and at most `share` of it for one user at a time.

    Who asks for more than a share gets the whole share. Within a user, the first who asks is served
    first; users are served in turn, and nobody overtakes a user whose turn it is.
    """

    def __init__(self, total: int, share: int) -> None:
        self._left = total
        self._share = share
        self._taken: dict[int, int] = {}
        self._waiting: dict[int, deque[_Waiting]] = {}

    @asynccontextmanager
    async def taken(self, uid: int, amount: int) -> AsyncIterator[None]:
        """Wait for an amount, and hold it. Not a checkpoint when it is there."""
        await self.take(uid, amount)
        try:
            yield
        finally:
            self.give_back(uid, amount)

    async def take(self, uid: int, amount: int) -> None:
        """Wait for an amount. Cancelled, nothing was taken."""
        amount = min(amount, self._share)
        if not self._waiting and self._fits(uid, amount):
            self._grant(uid, amount)
            return
        waiting = _Waiting(amount)
        self._waiting.setdefault(uid, deque()).append(waiting)
        self._serve()
        try:
            await waiting.granted.wait()
        except trio.Cancelled:
            if waiting.granted.is_set():
                self.give_back(uid, amount)
            else:
                self._forget(uid, waiting)
                self._serve()
            raise

    def give_back(self, uid: int, amount: int) -> None:
        """Give back an amount that was taken."""
        amount = min(amount, self._share)
        self._left += amount
        self._taken[uid] -= amount
        if not self._taken[uid]:
            del self._taken[uid]
        if self._waiting:
            self._serve()

    def _fits(self, uid: int, amount: int) -> bool:
        return amount <= self._left and self._within_share(uid, amount)

    def _within_share(self, uid: int, amount: int) -> bool:
        return self._taken.get(uid, 0) + amount <= self._share

    def _grant(self, uid: int, amount: int) -> None:
        self._left -= amount
        self._taken[uid] = self._taken.get(uid, 0) + amount

    def _serve(self) -> None:
        """Serve the users in turn, up to the first one for whom there is not enough left."""
        served = True
        while served:
            served = False
            for uid in list(self._waiting):
                first = self._waiting[uid][0]
                if not self._within_share(uid, first.amount):
                    continue  # This one waits for its own work alone.
                if first.amount > self._left:
                    return
                self._grant(uid, first.amount)
                first.granted.set()
                self._forget(uid, first)
                if uid in self._waiting:
                    self._waiting[uid] = self._waiting.pop(uid)  # behind the others
                served = True

    def _forget(self, uid: int, waiting: _Waiting) -> None:
        queue = self._waiting[uid]
        queue.remove(waiting)
        if not queue:
            del self._waiting[uid]
