"""Moments as people write them on a command line: `2h` ago, or `2026-01-31T14:00`."""

from datetime import datetime

from relayd.config.values import parse_duration


def parse_moment(text: str, now: float) -> float | None:
    """Return the Unix seconds that a duration before `now` or an ISO 8601 time stands for.

    A time without an offset is in the machine's zone, a date alone is its midnight. None for
    anything else. `now` is in Unix seconds.
    """
    duration_s = parse_duration(text)
    if duration_s is not None:
        return now - duration_s
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def parse_seconds(text: str, now: float) -> int | None:
    """Return whole Unix seconds, given as such or in any of `parse_moment`'s forms, or None."""
    if text.isascii() and text.isdigit():
        return int(text[:20])
    moment = parse_moment(text, now)
    return None if moment is None else int(moment)
