"""What a receiver's Retry-After asks for."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

MAX_RETRY_AFTER_S = 86_400.0
"""A receiver may ask for a day at most; a larger Retry-After is read as this."""


# Discord's has a fraction, which the standard does not know.
_SECONDS: Final = re.compile(r"([0-9]++)(?:\.([0-9]++))?", re.ASCII)


def parse_retry_after(value: str, now: float) -> float | None:
    """Return the seconds that a Retry-After header (RFC 9110, 10.2.3) asks to wait.

    It is a number of seconds, perhaps with a fraction, or an HTTP date. The answer is between 0 and a day; None for what is
    neither. `now` is in Unix seconds.
    """
    text = value.strip()
    if (match := _SECONDS.fullmatch(text)) is not None:
        # Any count of digits is a valid number of seconds; from six on it is "a day" anyway.
        whole, fraction = match[1].lstrip("0")[:6] or "0", (match[2] or "0")[:6]
        return min(float(f"{whole}.{fraction}"), MAX_RETRY_AFTER_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    wait = (moment - datetime.fromtimestamp(now, UTC)).total_seconds()
    return min(max(wait, 0.0), MAX_RETRY_AFTER_S)
