"""Moments and lengths of time as they are shown: for programs in ISO 8601, for people in short."""

from datetime import UTC, datetime

_DAY_S = 86_400.0


def iso(moment: float | None) -> str | None:
    """Return Unix seconds as ISO 8601 in UTC, to the millisecond, for programs."""
    if moment is None:
        return None
    text = datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds")
    return text.replace("+00:00", "Z")


def moment_fields(name: str, moment: float | None) -> dict[str, object]:
    """Return the two keys that a moment has in JSON: ISO 8601, and Unix seconds."""
    return {name: iso(moment), f"{name}_unix": moment}


def clock_time(moment: float) -> str:
    """Return the date and time in the machine's zone, with it: `2026-01-31 14:00:05 CET`."""
    return datetime.fromtimestamp(moment).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def zone(moment: float) -> str:
    """Return the machine's zone at a moment: `CET`."""
    return datetime.fromtimestamp(moment).astimezone().strftime("%Z")


def short_time(moment: float, now: float) -> str:
    """Return at most 8 characters: `14:00:05` within the last 20 hours, else `Jan 31` or `2025-01`."""
    local = datetime.fromtimestamp(moment).astimezone()
    if abs(now - moment) < 20 * 3600:
        return local.strftime("%H:%M:%S")
    return local.strftime("%b %d") if abs(now - moment) < 300 * _DAY_S else local.strftime("%Y-%m")


def zoned_time(moment: float, now: float) -> str:
    """Return `short_time`, with the zone where it is a time of the day: `14:00:05 CET`."""
    short = short_time(moment, now)
    return f"{short} {zone(moment)}" if ":" in short else short


def about(seconds: float) -> str:
    """Return a length of time with one unit, rounded: `45s`, `12m`, `4h`, `19d`."""
    seconds = max(0, round(seconds))
    minutes = round(seconds / 60.0)
    if seconds >= 2 * _DAY_S:
        return f"{round(seconds / _DAY_S)}d"
    if minutes >= 60:  # 59.6 minutes are an hour, and not 60 minutes
        return f"{round(seconds / 3600.0)}h"
    return f"{minutes}m" if seconds >= 60 else f"{seconds}s"
