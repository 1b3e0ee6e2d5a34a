"""An amount of something for all together, of which each user gets a share: who asks for more is refused."""

from collections.abc import Hashable


class Budget:
    """`total` of something for all, and at most `share` of it for one user at a time."""

    def __init__(self, total: int, share: int) -> None:
        self._left = total
        self._share = share
        self._taken: dict[Hashable, int] = {}

    def take(self, user: Hashable, amount: int) -> bool:
        """Take an amount, and return True; return False, and take nothing, where it is not there."""
        taken = self._taken.get(user, 0) + amount
        if amount > self._left or taken > self._share:
            return False
        self._left -= amount
        self._taken[user] = taken
        return True

    def give_back(self, user: Hashable, amount: int) -> None:
        """Give back an amount that was taken."""
        self._left += amount
        left = self._taken.pop(user, 0) - amount
        if left:
            self._taken[user] = left
