"""The results as Markdown: targets first, then a table for each section."""

from collections.abc import Iterator
from dataclasses import replace

from benchmarks.figures import Column, Row, Section, Target, Values, middle
from benchmarks.report.results import Results


def markdown(results: Results, plots: dict[str, list[str]]) -> str:
    """Return the whole document. `plots` has the names of each section's pictures."""
    return "\n".join(_lines(results, plots)) + "\n"


def targets_table(sections: list[Section]) -> list[str]:
    """Return the table of targets, and what became of each."""
    lines = ["| target | wanted | measured | |", "| --- | ---: | ---: | --- |"]
    for section in sections:
        lines += [_target(each) for each in section.targets]
    return lines


def section_table(section: Section) -> list[str]:
    """Return a section's table of medians, with the range of the repeats where there are several."""
    if not section.rows:
        return []
    titles = " | ".join(column.title for column in section.columns)
    lines = [f"| | {titles} |", "| --- |" + " ---: |" * len(section.columns)]
    for row in section.rows:
        cells = (_cell(row.cells.get(column.key, ()), column) for column in section.columns)
        lines.append(f"| {row.label} | {' | '.join(cells)} |")
    return lines


def medians_table(section: Section) -> list[str]:
    """Return a section's table with medians alone."""
    rows = tuple(
        Row(row.label, {key: (middle(values),) for key, values in row.cells.items() if values})
        for row in section.rows
    )
    return section_table(replace(section, rows=rows))


def section_lines(section: Section) -> list[str]:
    """Return a section's table and notes."""
    return [*section_table(section), "", *(f"- {note}" for note in section.notes)]


def run_line(results: Results) -> str:
    """Say which run it was."""
    command = "make bench" if results.mode == "full" else "make bench-quick"
    return (
        f"`{command}` on {results.began}, of commit {results.commit}, in {results.took_s:.0f} s. "
        "Figures are medians, with the lowest and highest of the repeats in brackets."
    )


def machine_lines(results: Results) -> list[str]:
    """Return the machine's description as a list."""
    return [f"- {key}: {value}" for key, value in results.machine.items()]


def _lines(results: Results, plots: dict[str, list[str]]) -> Iterator[str]:
    yield "# relayd's benchmarks: the last run"
    yield ""
    yield run_line(results)
    yield ""
    yield from machine_lines(results)
    yield ""
    yield "## Targets"
    yield ""
    yield from targets_table(list(results.sections))
    for section in results.sections:
        yield ""
        yield f"## {section.title}"
        yield ""
        if section.refused is not None:
            yield f"**No figures**: {section.refused}"
            continue
        yield from section_lines(section)
        for plot in plots.get(section.key, []):
            yield ""
            yield f"![{section.title}]({plot})"


def _target(target: Target) -> str:
    unit = f" {target.unit}" if target.unit else ""
    verdict = "holds" if target.holds else "**missed**"
    measured = f"{target.value:,.{target.digits}f}{unit}"
    return f"| {target.name} | {target.relation} {target.bound:g}{unit} | {measured} | {verdict} |"


def _cell(values: Values, column: Column) -> str:
    if not values:
        return ""
    digits = column.digits
    shown = f"{middle(values):,.{digits}f}"
    if len(values) == 1:
        return shown
    return f"{shown} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"
