"""The geometry of what is drawn: from counts to places in an SVG, without one."""

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
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


PALETTE: Final = 5
"""Colours of causes; the last is for all others."""

_PLOT: Final = 150.0
_LEFT: Final = 42
_WIDE: Final = 29


@dataclass(frozen=True, slots=True)
class Block:
    """A rectangle of a stack, its colour, and what it shows in words."""

    x: float
    y: float
    width: float
    height: float
    colour: int
    words: str


@dataclass(frozen=True, slots=True)
class Stack:
    """A chart of counts over time: blocks, the names of their colours, and the marks at its axes."""

    blocks: tuple[Block, ...]
    names: tuple[str, ...]
    marks: tuple[tuple[float, str], ...]
    most: int


def stack(
    counts: Sequence[tuple[int, str, int]], first: int, name_of: Callable[[int], str]
) -> Stack:
    """Return the chart of counts by hour and cause, from the hour `first` on.

    The causes with the most get a colour of their own. `name_of` names an hour.
    """
    totals: Counter[str] = Counter()
    by_hour: dict[int, Counter[str]] = defaultdict(Counter)
    for _, cause, count in counts:
        totals[cause] += count
    ranked = [cause for cause, _ in totals.most_common()]
    names = ranked if len(ranked) <= PALETTE else [*ranked[: PALETTE - 1], "other"]
    for since, cause, count in counts:
        by_hour[since][cause if cause in names else "other"] += count
    most = max((hour.total() for hour in by_hour.values()), default=0)
    blocks = []
    for index in range(HOURS):
        since, top = first + index * 3600, _PLOT
        for colour, name in enumerate(names):
            if count := by_hour[since][name]:
                height = max(2.0, _PLOT * count / most)
                top = max(0.0, top - height)
                words = f"{name_of(since)}: {count:,} {name}"
                x = float(_LEFT + index * _WIDE)
                blocks.append(Block(x, round(top, 1), _WIDE - 6, round(height, 1), colour, words))
    marks = [
        (float(_LEFT + index * _WIDE), name_of(first + index * 3600))
        for index in range(0, HOURS, 4)
    ]
    return Stack(tuple(blocks), tuple(names), tuple(marks), most)


@dataclass(frozen=True, slots=True)
class Bars:
    """The distribution of response times: a bar for each doubling, with the time that it ends at."""

    blocks: tuple[Block, ...]
    marks: tuple[tuple[float, str], ...]
    most: int


def distribution(classes: Mapping[int, int]) -> Bars:
    """Return the chart of response times, which are counted in `core.durations`' classes."""
    doublings: Counter[int] = Counter()
    for each, count in classes.items():
        doublings[-(-each // 4)] += count
    last = max(doublings, default=0)
    first = min(doublings, default=0)
    most = max(doublings.values(), default=0)
    width = min(80.0, 690.0 / max(1, last - first + 1))
    blocks, marks = [], []
    for index, doubling in enumerate(range(first, last + 1) if doublings else ()):
        count, x = doublings[doubling], _LEFT + index * width
        name = _up_to(doubling)
        marks.append((x + width / 2 - 3, name))
        if count:
            height = max(2.0, _PLOT * count / most)
            words = f"{count:,} within {name}"
            blocks.append(Block(x, round(_PLOT - height, 1), width - 6, round(height, 1), 0, words))
    return Bars(tuple(blocks), tuple(marks), most)


def _up_to(doubling: int) -> str:
    seconds = 0.001 * 2**doubling
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.0f} s"
