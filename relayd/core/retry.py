"""How long a failed delivery waits for its next attempt: the schedule's wait, and its jitter.

Whether there is another attempt, and when, is decided by `core.delivery.decide`, with this wait.
"""

JITTER = 0.1
"""Each wait is shifted at random by up to a tenth, so that what failed together does not return
together."""


def retry_wait_s(schedule: tuple[float, ...], step: int, jitter: float) -> float | None:
    """Return the seconds to wait before the next attempt, or None when none is left.

    `step` counts the retries that were scheduled before; `jitter` is between -1 and 1.
    """
    if step >= len(schedule):
        return None
    return schedule[step] * (1.0 + JITTER * jitter)
