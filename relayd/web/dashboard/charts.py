"""The geometry of what is drawn: from counts to places in an SVG, without one."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from relayd.queue.overview_values import Hour

HOURS: Final = 24
_HEIGHT: Final = 30.0
_STEP: Final = 6
_LEAST: Final = 2.0
"""So high is a column of which there is anything."""


@dataclass(frozen=True, slots=True)
class Column:
    """One hour: successes from the ground, failures above them. Heights and places from the top."""

    x: int
    ok: float
    ok_y: float
    no: float
    no_y: float


@dataclass(frozen=True, slots=True)
class Spark:
    """A small chart, and what it shows in words."""

    columns: tuple[Column, ...]
    width: int
    words: str


def spark(hours: Sequence[Hour], now: float) -> Spark:
    """Return the chart of an endpoint's last 24 hours, each relative to the one with the most attempts."""
    first = (int(now) // 3600 - HOURS + 1) * 3600
    by_hour = {each.since: each for each in hours if each.since >= first}
    most = max((each.delivered + each.failed for each in by_hour.values()), default=0)
    columns = []
    for index in range(HOURS):
        hour = by_hour.get(first + index * 3600, Hour(0, 0, 0))
        no = _height(hour.failed, most)
        ok = min(_height(hour.delivered, most), _HEIGHT - no)
        columns.append(
            Column(
                index * _STEP,
                round(ok, 1),
                round(_HEIGHT - ok, 1),
                round(no, 1),
                round(_HEIGHT - ok - no, 1),
            )
        )
    delivered = sum(each.delivered for each in by_hour.values())
    failed = sum(each.failed for each in by_hour.values())
    words = f"{delivered:,} succeeded and {failed:,} failed in 24 hours"
    return Spark(tuple(columns), HOURS * _STEP - 2, words if by_hour else "No attempts in 24 hours")


def _height(count: int, most: int) -> float:
    return max(_LEAST, _HEIGHT * count / most) if count else 0.0
