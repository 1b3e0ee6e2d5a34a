"""Metrics as Prometheus reads them: its text format 0.0.4, and OpenMetrics 1.0.

By hand: a library keeps a registry that is counted up in its own process. Here all figures come from
the queue and the daemon, and the text is all that is left to make.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Literal

TEXT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS_TYPE: Final = "application/openmetrics-text; version=1.0.0; charset=utf-8"

Labels = tuple[tuple[str, str], ...]


class Kind(StrEnum):
    """What a metric is."""

    GAUGE = "gauge"
    COUNTER = "counter"
    HISTOGRAM = "histogram"
    INFO = "info"


@dataclass(frozen=True, slots=True)
class Histogram:
    """Observations, their sum, and how many were up to each bound, rising; the last is of all."""

    buckets: Sequence[tuple[float, int]]
    count: int
    total: float


@dataclass(slots=True)
class Metric:
    """A metric without its suffixes, and its values by their labels.

    A counter's samples end with `_total`, an info's with `_info`; a `unit` is the end of the name.
    """

    name: str
    kind: Kind
    help: str
    unit: str = ""
    values: dict[Labels, float | Histogram] = field(default_factory=dict)

    def add(self, value: float | Histogram, **labels: str) -> None:
        """Set the value of one series."""
        self.values[tuple(labels.items())] = value


_SUFFIXES: Final[Mapping[Kind, str]] = {Kind.COUNTER: "_total", Kind.INFO: "_info"}


def exposition(metrics: Iterable[Metric], *, openmetrics: bool = False) -> bytes:
    """Return the metrics as a scrape is answered, in UTF-8; those without a value are left out."""
    lines: list[str] = []
    for metric in metrics:
        if not metric.values:
            continue
        suffix = _SUFFIXES.get(metric.kind, "")
        sample = metric.name + suffix
        # In the older format a metric has the name of its samples, and there is no info.
        name = metric.name if openmetrics else sample
        kind = "gauge" if metric.kind is Kind.INFO and not openmetrics else metric.kind.value
        lines.append(f"# HELP {name} {_help(metric.help, quotes=openmetrics)}")
        lines.append(f"# TYPE {name} {kind}")
        if openmetrics and metric.unit:
            lines.append(f"# UNIT {name} {metric.unit}")
        for labels, value in metric.values.items():
            shown = ",".join(f'{key}="{_escape(text)}"' for key, text in labels)
            if isinstance(value, Histogram):
                lines += _histogram(sample, shown, value)
            else:
                lines.append(f"{sample}{{{shown}}} {value}" if shown else f"{sample} {value}")
    if openmetrics:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode("utf-8", "replace")


def _histogram(name: str, shown: str, value: Histogram) -> Iterable[str]:
    before = f"{shown}," if shown else ""
    for bound, count in value.buckets:
        yield f'{name}_bucket{{{before}le="{bound}"}} {count}'
    yield f'{name}_bucket{{{before}le="+Inf"}} {value.count}'
    labels = f"{{{shown}}}" if shown else ""
    yield f"{name}_sum{labels} {value.total}"
    yield f"{name}_count{labels} {value.count}"


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _help(text: str, *, quotes: bool) -> str:
    return _escape(text) if quotes else text.replace("\\", "\\\\").replace("\n", "\\n")


Format = Literal["text", "openmetrics"]


def wanted_format(accept: str) -> Format:
    """Return the format that an `Accept` header prefers; the text format where it does not say."""
    best: tuple[float, Format] = (0.0, "text")
    for each in accept.split(","):
        media, *parameters = (part.strip().lower() for part in each.split(";"))
        given = dict(part.partition("=")[::2] for part in parameters)
        version = given.get("version", "")
        if media == "application/openmetrics-text" and version in {"", "1.0.0"}:
            found: Format = "openmetrics"
        elif media in {"text/plain", "text/*", "*/*"}:
            found = "text"
        else:
            continue
        try:
            quality = float(given.get("q", "1"))
        except ValueError:
            continue
        if quality > best[0]:
            best = (quality, found)
    return best[1]
