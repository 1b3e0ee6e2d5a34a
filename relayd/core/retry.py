"""When a failed delivery is attempted again, and what a receiver's Retry-After asks for."""

from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

JITTER = 0.1
"""Each wait is shifted at random by up to a tenth, so that what failed together does not return
together."""

MAX_RETRY_AFTER_S = 86_400.0
"""A receiver may ask for a day at most; a larger Retry-After is read as this."""


def retry_wait_s(schedule: tuple[float, ...], step: int, jitter: float) -> float | None:
    """Return the seconds to wait before the next attempt, or None when none is left.

    `step` counts the retries that were scheduled before; `jitter` is between -1 and 1.
    """
    if step >= len(schedule):
        return None
    return schedule[step] * (1.0 + JITTER * jitter)


def parse_retry_after(value: str, now: float) -> float | None:
    """Return the seconds that a Retry-After header (RFC 9110, 10.2.3) asks to wait.

    It is a number of seconds or an HTTP date. The answer is between 0 and a day; None for what is
    neither. `now` is in Unix seconds.
    """
    text = value.strip()
    # Any count of digits is a valid number of seconds; from six on it is "a day" anyway.
    if text.isascii() and text.isdigit():
        return min(float(text.lstrip("0")[:6] or "0"), MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    wait = (moment - datetime.fromtimestamp(now, UTC)).total_seconds()
    return min(max(wait, 0.0), MAX_RETRY_AFTER_S)
