"""Writes a run's figures into documents, between `<!-- bench: NAME -->` and `<!-- /bench -->`.

NAME is `run`, `machine`, `targets`, `summary`, or a section's key. What this run has no figures for
stays as it was.
"""

import re
from pathlib import Path

from benchmarks.figures import Section
from benchmarks.report.results import Results
from benchmarks.report.table import (
    machine_lines,
    medians_table,
    run_line,
    section_lines,
    targets_table,
)

_BLOCK = re.compile(r"(<!-- bench: ([a-z]+) -->\n).*?(<!-- /bench -->)", re.DOTALL)


def update(document: Path, results: Results) -> None:
    """Replace what stands in the document's blocks."""
    blocks = _blocks(results)

    def replaced(match: re.Match[str]) -> str:
        lines = blocks.get(match[2])
        return match[0] if lines is None else match[1] + "\n".join(lines) + "\n" + match[3]

    text = document.read_text()
    document.write_text(_BLOCK.sub(replaced, text))


def _blocks(results: Results) -> dict[str, list[str]]:
    sections: list[Section] = [each for each in results.sections if each.refused is None]
    blocks = {
        "run": [run_line(results)],
        "machine": machine_lines(results),
        "targets": targets_table(sections),
        **{section.key: section_lines(section) for section in sections},
    }
    for section in sections:
        if section.key == "contest":
            blocks["summary"] = medians_table(section)
    return blocks
