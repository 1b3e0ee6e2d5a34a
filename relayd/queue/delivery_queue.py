"""The part of the queue's interface that the delivery of events uses: see `queue.interface`."""

from __future__ import annotations  # a command that only reads loads none of what is named here

from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from relayd.core.endpoint import Health
    from relayd.core.hold import Hold
    from relayd.core.own_events import Report
    from relayd.queue.values import Claim, Recording, Want

STORAGE_RETRY_S: Final = 1.0
"""How long to wait before the queue is asked again, when it is locked or its disk is full."""


class DeliveryQueue(Protocol):
    """Finds what is due and records attempts. Each write is durable when its call returns."""

    @property
    def holds(self) -> Mapping[str, Hold | None]:
        """Each subscription's hold, as it was last committed."""

    async def claim(self, want: Want) -> Claim:
        """Find deliveries that are due. Writes nothing."""

    async def record(self, recording: Recording) -> bool:
        """Write the result of an attempt.

        False when the delivery is not as decided: the operator changed it in the meantime.
        """

    async def quarantine(self, seq: int, detail: str) -> bool:
        """End a delivery whose attempt cannot be recorded, and keep the reason.

        Returns whether it had not ended before.
        """

    async def record_health(
        self, url: str, health: Callable[[], Health], own_events: Sequence[Report]
    ) -> None:
        """Write an endpoint's health, as it is at the time of writing, and relayd's own events."""

    def next_release(self) -> int:
        """Return the number of a release from now on: see `core.release`."""

    @property
    def newest_release(self) -> int:
        """The newest release that an attempt which begins now is made after."""
