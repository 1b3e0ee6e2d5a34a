"""One run: measures what the command line names, prints it, and writes the results."""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from benchmarks import machine, packages
from benchmarks.bench import FULL, QUICK, Bench, say
from benchmarks.errors import RefusedError
from benchmarks.figures import Section
from benchmarks.processes import raise_open_files
from benchmarks.receiver import Receiver
from benchmarks.report.documents import update
from benchmarks.report.results import Results, write_json
from benchmarks.report.table import markdown, section_table, targets_table
from benchmarks.scenarios import (
    backlog,
    browsing,
    contest,
    drain,
    ended,
    endpoints,
    isolation,
    latency,
    payloads,
    subscriptions,
)

SCENARIOS: Mapping[str, Callable[[Bench], Section]] = {
    "contest": contest.run,
    "latency": latency.run,
    "isolation": isolation.run,
    "browsing": browsing.run,
    "drain": drain.run,
    "backlog": backlog.run,
    "endpoints": endpoints.run,
    "subscriptions": subscriptions.run,
    "payloads": payloads.run,
    "ended": ended.run,
}


def measure(arguments: argparse.Namespace, commit: str) -> int:
    """Run the scenarios, and return the exit status. `commit` says what is measured."""
    plan = QUICK if arguments.quick else FULL
    if arguments.repeats is not None:
        plan = replace(
            plan,
            repeats=arguments.repeats,
            latency_repeats=arguments.repeats,
            isolation_repeats=arguments.repeats,
            scale_repeats=arguments.repeats,
        )
    raise_open_files()
    try:
        installed = packages.ensure(peers=not arguments.no_peers)
    except RefusedError as error:
        say(str(error))
        return 1
    if installed:
        say(f"installed {', '.join(installed)}")
    began, started = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), time.monotonic()
    with tempfile.TemporaryDirectory(dir=arguments.work, prefix="relayd-bench-") as folder:
        work = Path(folder)
        description = machine.describe(work)
        others = machine.OthersWork()
        with Receiver(work) as receiver:
            bench = Bench(work, receiver, plan, peers=not arguments.no_peers)
            sections = [_section(bench, name) for name in arguments.only]
        description["other programs meanwhile"] = f"{others.percent():.0f} % of the processors"
    results = Results(
        mode=plan.name,
        began=began,
        took_s=time.monotonic() - started,
        commit=commit,
        machine=description,
        sections=sections,
    )
    _print(results)
    if arguments.output is not None:
        _write(results, arguments.output)
    for document in arguments.update:
        update(document, results)
    return 0 if results.whole else 1


def _section(bench: Bench, name: str) -> Section:
    bench.say(f"— {name}")
    began = time.monotonic()
    try:
        section = SCENARIOS[name](bench)
    except RefusedError as error:
        bench.say(f"{name}: no figures: {error}")
        section = Section(name, name.capitalize(), refused=str(error))
    return replace(section, took_s=time.monotonic() - began)


def _print(results: Results) -> None:
    lines: list[str] = []
    for section in results.sections:
        lines += ["", section.title, *section_table(section)]
        if section.refused is not None:
            lines.append(f"no figures: {section.refused}")
    lines += ["", *targets_table(list(results.sections)), ""]
    sys.stdout.write("\n".join(lines))


def _write(results: Results, folder: Path) -> None:
    from benchmarks.report.plots import draw  # noqa: PLC0415 - takes a second to import

    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.glob("*.png"):
        old.unlink()
    plots = draw(list(results.sections), folder)
    write_json(results, folder / "latest.json")
    (folder / "latest.md").write_text(markdown(results, plots))
    say(f"written to {folder}")
