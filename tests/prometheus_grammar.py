"""Reads an exposition as strictly as the formats' own grammar says, for tests; raises where it is wrong."""

import re
from dataclasses import dataclass, field

LABEL = r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\["\\n])*"'
SAMPLE = re.compile(
    rf"(?P<name>[a-zA-Z_][a-zA-Z0-9_]*)(?:{{(?P<labels>{LABEL}(?:,{LABEL})*)}})?"
    r" (?P<value>-?\d+(?:\.\d+)?(?:e[+-]\d+)?)"
)
SUFFIXES = {
    "counter": ("_total",),
    "histogram": ("_bucket", "_sum", "_count"),
    "info": ("_info",),
    "gauge": ("",),
}


@dataclass
class Family:
    kind: str
    unit: str = ""
    samples: dict[tuple[str, str], float] = field(default_factory=dict)


def read_exposition(raw: bytes, *, openmetrics: bool = False) -> dict[str, Family]:
    """Return the families by name, their samples by name and labels as they stand."""
    text = raw.decode()
    assert text.endswith("# EOF\n" if openmetrics else "\n")
    families: dict[str, Family] = {}
    helped: str | None = None
    current = ""
    for line in text.removesuffix("# EOF\n").split("\n")[:-1]:
        if found := re.fullmatch(r"# HELP ([a-z_]+) \S.*", line):
            helped = found[1]
        elif found := re.fullmatch(r"# TYPE ([a-z_]+) (counter|gauge|histogram|info)", line):
            current = found[1]
            assert current == helped, line
            assert current not in families, "a family stands in one place"
            families[current] = Family(found[2])
            assert openmetrics or found[2] != "info", line
        elif found := re.fullmatch(r"# UNIT ([a-z_]+) ([a-z]+)", line):
            assert openmetrics, line
            assert found[1] == current, line
            assert current.endswith(f"_{found[2]}"), line
            families[current].unit = found[2]
        else:
            found = SAMPLE.fullmatch(line)
            assert found is not None, line
            family = families[current]
            suffixes = SUFFIXES[family.kind]
            if not openmetrics and family.kind == "counter":
                assert current.endswith("_total")
                suffixes = ("",)
            assert found["name"] in {current + each for each in suffixes}, line
            key = (found["name"], found["labels"] or "")
            assert key not in family.samples, "a series stands once"
            family.samples[key] = float(found["value"])
    for name, family in families.items():
        assert family.samples, name
        if family.kind == "histogram":
            _check_histogram(name, family)
    return families


def _check_histogram(name: str, family: Family) -> None:
    series: dict[str, list[tuple[float, float]]] = {}
    for (sample, labels), value in family.samples.items():
        if sample == f"{name}_bucket":
            others, _, bound = labels.rpartition('le="')
            series.setdefault(others.rstrip(","), []).append((float(bound.rstrip('"')), value))
    for labels, buckets in series.items():
        assert buckets == sorted(buckets), "bounds and counts rise"
        assert [count for _, count in buckets] == sorted(count for _, count in buckets)
        assert buckets[-1][0] == float("inf")
        assert buckets[-1][1] == family.samples[f"{name}_count", labels]
        assert family.samples[f"{name}_sum", labels] >= 0
