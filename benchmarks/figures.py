"""A section of the report: a table of repeated measurements, targets, and curves to plot."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Literal

Values = tuple[float, ...]
"""One figure, once for each repeat."""


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table. `digits` are those behind the point."""

    key: str
    title: str
    digits: int = 0


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a table: what was measured, and its figures by their columns' keys."""

    label: str
    cells: dict[str, Values]


@dataclass(frozen=True, slots=True)
class Target:
    """What must be reached: `value` (a median) compared with `bound`."""

    name: str
    value: float
    relation: Literal["at least", "at most"]
    bound: float
    unit: str = ""
    digits: int = 2

    @property
    def holds(self) -> bool:
        """Whether it is reached."""
        if math.isnan(self.value):
            return False
        return self.value >= self.bound if self.relation == "at least" else self.value <= self.bound


@dataclass(frozen=True, slots=True)
class Curve:
    """A plot: some lines over one axis, which is logarithmic. `bound` is drawn as a line."""

    key: str
    title: str
    x: str
    y: str
    lines: dict[str, list[tuple[float, float]]]
    bound: float | None = None
    log_y: bool = False


@dataclass(frozen=True, slots=True)
class Bars:
    """A plot of one figure for several contenders, with each repeat as a dot."""

    key: str
    title: str
    x: str
    bars: dict[str, Values]


@dataclass(frozen=True, slots=True)
class Section:
    """What one scenario found. `refused` says why it has no figures."""

    key: str
    title: str
    notes: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    rows: tuple[Row, ...] = ()
    targets: tuple[Target, ...] = ()
    curves: tuple[Curve, ...] = ()
    bars: tuple[Bars, ...] = ()
    refused: str | None = None
    took_s: float = field(default=0.0)


def middle(values: Sequence[float]) -> float:
    """Return the median, NaN of nothing."""
    return median(values) if values else math.nan


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the smallest value that at least `percent` of the values do not exceed."""
    if not values:
        return math.nan
    ordered = sorted(values)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


def pairwise(above: Sequence[float], below: Sequence[float]) -> Values:
    """Return the ratios of figures that were measured in the same repeat."""
    return tuple(one / other for one, other in zip(above, below, strict=True))
