"""Durations, sizes, rates and names: from text to values, and back to text for people."""

import re
from typing import Final

from relayd.core.token_bucket import Rate

NAME_PATTERN: Final = r"^[A-Za-z0-9_][A-Za-z0-9_-]{0,63}$"
"""Names of subscriptions and spools, as commands and logs have them: none needs quotes, and none is an option."""

NAME_RULE: Final = "a name is 1 to 64 letters, digits, `_` or `-`, and begins with no `-`"

DURATION_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"
RATE_PATTERN: Final = r"^[1-9][0-9]*/(s|min|h|d)$"

SIZE_PATTERN: Final = r"^[0-9]+(\.[0-9]+)?(MB|GB)$"

_LONGEST: Final = 24
"""Characters of a duration, size or rate that are looked at."""

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)", re.ASCII)
_UNITS_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)(MB|GB)", re.ASCII)
_UNITS_BYTES: Final = {"MB": 1_000_000, "GB": 1_000_000_000}
_RATE = re.compile(r"([1-9][0-9]*)/(s|min|h|d)", re.ASCII)
_PERIODS_S: Final = {"s": 1.0, "min": 60.0, "h": 3600.0, "d": 86_400.0}
MAX_RATE_LIMIT: Final = 1_000_000


def parse_duration(text: str) -> float | None:
    """Return the seconds that `10s`, `2m`, `4h`, `30d`, `1.5h` or `500ms` stand for.

    None for anything else. A number without a unit is none, not even 0.
    """
    match = _DURATION.fullmatch(text) if len(text) <= _LONGEST else None
    return None if match is None else float(match[1]) * _UNITS_MS[match[2]] / 1000


def format_duration(seconds: float) -> str:
    """Return the shortest text that `parse_duration` reads as these seconds, rounded to 1 ms."""
    milliseconds = round(seconds * 1000)
    if milliseconds == 0:
        return "0s"
    for unit in ("d", "h", "m", "s"):
        whole, rest = divmod(milliseconds, _UNITS_MS[unit])
        if rest == 0:
            return f"{whole}{unit}"
    if milliseconds > 1000:
        return f"{milliseconds / 1000:.3f}".rstrip("0") + "s"
    return f"{milliseconds}ms"


def parse_size(text: str) -> int | None:
    """Return the bytes that `500MB`, `2GB` or `1.5GB` stand for, or None for anything else."""
    match = _SIZE.fullmatch(text) if len(text) <= _LONGEST else None
    return None if match is None else round(float(match[1]) * _UNITS_BYTES[match[2]])


def format_size(size: float) -> str:
    """Return a number of bytes for people: `512 bytes`, `20 MB`, `1.5 GB`."""
    for unit in ("bytes", "KB", "MB"):
        if size < 1000:
            return f"{size:.0f} {unit}"
        size /= 1000
    return f"{size:.1f} GB"


def parse_mode(text: str) -> int | None:
    """Return the file mode that `0660` stands for, or None where its owner may not read and write."""
    if not re.fullmatch(r"0?[0-7]{3}", text) or int(text, 8) & 0o600 != 0o600:
        return None
    return int(text, 8)


def parse_rate(text: str) -> Rate | None:
    """Return the rate that `100/min`, `5/s`, `1000/h` or `10/d` stands for, or None."""
    match = _RATE.fullmatch(text) if len(text) <= _LONGEST else None
    if match is None or int(match[1]) > MAX_RATE_LIMIT:
        return None
    return Rate(int(match[1]), _PERIODS_S[match[2]])
