"""Writes the results of attempts to the queue, and waits for the queue when it must."""

from collections.abc import Callable
from dataclasses import replace

import trio

from relayd.containment import is_defect
from relayd.core.delivery import AttemptRecord
from relayd.core.endpoint import Health
from relayd.delivery.attempt import Attempt
from relayd.delivery.observer import DEFECT_DETAIL, Observer
from relayd.queue.delivery_queue import STORAGE_RETRY_S, DeliveryQueue
from relayd.queue.interface import QueueUnavailable
from relayd.queue.values import Recording


class Recorder:
    """Records the attempts at one endpoint."""

    def __init__(
        self,
        queue: DeliveryQueue,
        url: str,
        health: Callable[[], Health],
        observer: Observer,
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._url = url
        self._health = health
        self._observer = observer
        self._clock = clock
        self._moved_s = 0.0

    def move_times(self, step: float) -> None:
        """Move the times of what was decided and is not written yet by a step of the clock."""
        self._moved_s += step

    async def record(
        self, attempt: Attempt, record: AttemptRecord, before: Health, after: Health
    ) -> tuple[AttemptRecord, bool]:
        """Write what was decided; return it, and whether it still holds: see `DeliveryQueue.record`.

        It is written even while relayd stops. As long as the queue cannot be used, the delivery
        stays in flight, so that it is not sent twice; where the clock is set meanwhile, its times move.
        """
        moved_s = self._moved_s
        recording = Recording(
            record,
            self._url,
            self._health if after != before else None,
            self._observer.own_events(record, before, after),
            attempt.newest_release,
        )
        while True:
            if moved_s != self._moved_s:
                step, moved_s = self._moved_s - moved_s, self._moved_s
                recording = replace(recording, record=recording.record.moved(step, self._clock()))
            try:
                as_decided = await self._queue.record(recording)
            except QueueUnavailable as error:
                self._observer.queue_unavailable(error, attempt.delivery)
                await trio.sleep(STORAGE_RETRY_S)
                attempt.moved_at = trio.current_time()
            else:
                attempt.recorded = True
                return recording.record, as_decided

    async def after_defect(self, attempt: Attempt, defect: Exception) -> bool:
        """Contain a defect in what follows from an attempt; return whether the delivery may go on.

        One whose attempt cannot be recorded ends: it would be sent again and again.
        """
        delivery = attempt.delivery
        if attempt.recorded:
            self._observer.attempt_defect(delivery, defect)
            return True
        self._observer.not_recorded(delivery, defect)
        try:
            if await self._queue.quarantine(delivery.seq, DEFECT_DETAIL):
                self._observer.quarantined(delivery)
        except Exception as error:
            if not is_defect(error):
                raise
            self._observer.not_quarantined(delivery, error)
            return False
        return True
