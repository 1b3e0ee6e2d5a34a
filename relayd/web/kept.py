"""Keeps what took long to find for a while, for all who ask: one looks at a time, and the others get what it found."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

T = TypeVar("T")

SHARE: Final = 4
"""It holds so many times as long as it took: whoever asks without end gets a fifth of a core at most."""


class Kept(Generic[T]):
    """Something that holds for `least_s` seconds, and for `share` times as long as it took."""

    def __init__(self, least_s: float, share: int = SHARE) -> None:
        self._least_s = least_s
        self._share = share
        self._looking = asyncio.Lock()
        self._found: tuple[T] | None = None
        self._until = 0.0
        self._changes = 0

    async def get(self, look: Callable[[], Awaitable[T]]) -> T:
        """Return what `look` finds, or found not long ago. What it raises is kept for nobody."""
        async with self._looking:
            loop = asyncio.get_running_loop()
            if self._found is None or loop.time() >= self._until:
                began, changes = loop.time(), self._changes
                self._found = (await look(),)
                if changes == self._changes:  # or it may have looked before that
                    took_s = loop.time() - began
                    self._until = loop.time() + max(self._least_s, self._share * took_s)
            return self._found[0]

    def forget(self) -> None:
        """Look again for who asks next, also where a look is under way: something was changed."""
        self._changes += 1
        self._until = 0.0
