"""A run's results as a JSON file, complete with each repeat's figure."""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.figures import Section


@dataclass(frozen=True, slots=True)
class Results:
    """One run of the benchmarks."""

    mode: str
    began: str
    took_s: float
    commit: str
    machine: dict[str, str]
    sections: Sequence[Section]

    @property
    def whole(self) -> bool:
        """Whether every scenario has its figures."""
        return all(section.refused is None for section in self.sections)


def write_json(results: Results, path: Path) -> None:
    """Write everything that was measured."""
    document = asdict(results)
    for section, found in zip(document["sections"], results.sections, strict=True):
        for target, known in zip(section["targets"], found.targets, strict=True):
            target["holds"] = known.holds
    path.write_text(json.dumps(_finite(document), indent=1) + "\n")


def _finite(value: object) -> object:
    """Replace what JSON has not, and round what nobody reads."""
    match value:
        case float():
            return float(f"{value:.6g}") if math.isfinite(value) else None
        case dict():
            return {key: _finite(each) for key, each in value.items()}
        case list() | tuple():
            return [_finite(each) for each in value]
    return value
