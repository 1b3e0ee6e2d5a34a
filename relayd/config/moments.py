"""Moments as people write them on a command line: `2h` ago, or `2026-01-31T14:00`."""

import re
from datetime import UTC, datetime, time, timedelta
from typing import Final

from relayd.config.values import parse_duration

MOMENT_FORMS: Final = (
    "30m, 2h, 1h30m or 30d for that long ago, today, yesterday, a time as 2026-01-31 or"
    " 2026-01-31T14:00, or Unix seconds"
)
"""How a moment is written, for help and for errors."""

_DAY: Final = (
    r"20[0-9]{2}-((0[1-9]|1[0-2])-(0[1-9]|1[0-9]|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)"
    r"|20([02468][048]|[13579][26])-02-29"
)
_TIME: Final = (
    r"T([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{3})?)?(Z|[+-][01][0-9]:[0-5][0-9])?"
)
MOMENT_PATTERN: Final = (
    rf"^(([0-9]{{1,9}}(ms|s|m|h|d)){{1,4}}|today|yesterday|[1-9][0-9]{{8,10}}|({_DAY})({_TIME})?)$"
)
"""The same, so strictly that each text that matches is one: for programs, as a regular expression of JSON Schema."""

_DAYS_AGO: Final = {"today": 0, "yesterday": 1}


def parse_moment(text: str, now: float) -> float | None:
    """Return the Unix seconds that one of `MOMENT_FORMS` stands for; None for anything else.

    A time without an offset is in the machine's zone; a date alone, `today` and `yesterday` are the
    midnight with which that day begins. `now` is in Unix seconds. Numbers of fewer than nine digits
    are not Unix seconds: whoever writes 30 means 30 of something.
    """
    if re.fullmatch(r"[0-9]{9,11}(\.[0-9]{1,9})?", text):
        return float(text)
    parts = re.findall(r"[0-9.]+[a-z]+", text)
    durations = [parse_duration(part) for part in parts]
    if parts and "".join(parts) == text and None not in durations:
        return now - sum(each or 0.0 for each in durations)
    try:
        if text in _DAYS_AGO:
            today = datetime.fromtimestamp(now, UTC).astimezone().date()
            day = today - timedelta(days=_DAYS_AGO[text])
            return datetime.combine(day, time()).timestamp()
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def parse_seconds(text: str, now: float) -> int | None:
    """Return whole Unix seconds, given as such or in any of `parse_moment`'s forms, or None."""
    if text.isascii() and text.isdigit():
        return int(text[:20])
    moment = parse_moment(text, now)
    return None if moment is None else int(moment)
