"""Curves and bars as PNG files."""

from pathlib import Path

import matplotlib as mpl

mpl.use("Agg")

from matplotlib import pyplot as plt
from matplotlib.ticker import LogFormatter

from benchmarks.figures import Bars, Curve, Section, middle


def draw(sections: list[Section], folder: Path) -> dict[str, list[str]]:
    """Draw each section's pictures, and return their file names by the section's key."""
    drawn: dict[str, list[str]] = {}
    for section in sections:
        names = drawn.setdefault(section.key, [])
        for bars in section.bars:
            names.append(_file_name(section, bars.key))
            _draw_bars(bars, folder / names[-1])
        for curve in section.curves:
            names.append(_file_name(section, curve.key))
            _draw_curve(curve, folder / names[-1])
    return drawn


def _file_name(section: Section, key: str) -> str:
    return f"{section.key}.png" if key == section.key else f"{section.key}-{key}.png"


def _draw_bars(bars: Bars, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(8, 0.45 * len(bars.bars) + 1.2), layout="constrained")
    names = list(reversed(bars.bars))
    positions = range(len(names))
    medians = [middle(bars.bars[name]) for name in names]
    axes.barh(positions, medians, color="#4c78a8")
    for position, name in zip(positions, names, strict=True):
        values = bars.bars[name]
        axes.plot(values, [position] * len(values), "o", color="#222222", markersize=3)
        axes.annotate(
            f" {middle(values):,.0f}",
            (max(values), position),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
        )
    axes.set_yticks(list(positions), names)
    axes.margins(x=0.12)
    axes.set_xlabel(bars.x)
    axes.set_title(bars.title)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_curve(curve: Curve, path: Path) -> None:
    figure, axes = plt.subplots(figsize=(7, 4), layout="constrained")
    for name, points in curve.lines.items():
        axes.plot(*zip(*points, strict=True), "o-", label=name)
    axes.set_xscale("log")
    if curve.log_y:
        axes.set_yscale("log")
        for axis_of in (axes.yaxis.set_major_formatter, axes.yaxis.set_minor_formatter):
            axis_of(LogFormatter(minor_thresholds=(1.5, 0.5)))
    else:
        axes.set_ylim(bottom=0)
    if curve.bound is not None:
        axes.axhline(curve.bound, color="#e45756", linestyle="--", label="target")
    axes.set_xlabel(curve.x)
    axes.set_ylabel(curve.y)
    axes.set_title(curve.title)
    axes.grid(alpha=0.3)
    if len(curve.lines) > 1 or curve.bound is not None:
        axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)
