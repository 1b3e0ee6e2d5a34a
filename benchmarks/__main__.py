"""The command: measures, and writes `benchmarks/results/`.

Exit status 0 when everything was measured (whether or not each target holds), 1 when a scenario
has no figures, since events were lost or a program failed.
"""

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
from benchmarks.report.results import Results, write_json
from benchmarks.report.table import markdown, section_table, targets_table
from benchmarks.scenarios import (
    backlog,
    contest,
    drain,
    ended,
    endpoints,
    isolation,
    latency,
    payloads,
    subscriptions,
)

_HERE = Path(__file__).parent

SCENARIOS: Mapping[str, Callable[[Bench], Section]] = {
    "contest": contest.run,
    "latency": latency.run,
    "isolation": isolation.run,
    "drain": drain.run,
    "backlog": backlog.run,
    "endpoints": endpoints.run,
    "subscriptions": subscriptions.run,
    "payloads": payloads.run,
    "ended": ended.run,
}


def main() -> int:
    """Run the scenarios that the command line names."""
    arguments = _arguments()
    plan = QUICK if arguments.quick else FULL
    if arguments.repeats is not None:
        plan = replace(plan, repeats=arguments.repeats)
    raise_open_files()
    installed = packages.ensure(peers=not arguments.no_peers)
    if installed:
        say(f"installed {', '.join(installed)}")
    began, started = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()), time.monotonic()
    with tempfile.TemporaryDirectory(dir=arguments.work, prefix="relayd-bench-") as folder:
        work = Path(folder)
        description = machine.describe(work)
        sections = []
        with Receiver(work) as receiver:
            bench = Bench(work, receiver, plan, peers=not arguments.no_peers)
            for name in arguments.only:
                sections.append(_section(bench, name))
    results = Results(
        mode=plan.name,
        began=began,
        took_s=time.monotonic() - started,
        commit=machine.commit(_HERE.parent),
        machine=description,
        sections=sections,
    )
    _print(results)
    if arguments.output is not None:
        _write(results, arguments.output)
    return 0 if results.whole else 1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="in less than three minutes")
    parser.add_argument(
        "--only",
        type=_names,
        default=list(SCENARIOS),
        metavar="NAMES",
        help=f"some scenarios, joined by commas, of: {', '.join(SCENARIOS)}",
    )
    parser.add_argument("--no-peers", action="store_true", help="relayd alone")
    parser.add_argument("--repeats", type=int, help="how often each figure is measured")
    parser.add_argument(
        "--work",
        type=Path,
        default=Path("/var/tmp"),  # noqa: S108 - a folder of our own is made in it
        help="a folder on the disk to measure (default: /var/tmp)",
    )
    parser.add_argument(
        "--output", type=Path, help="the folder for the results (default: they are only printed)"
    )
    return parser.parse_args()


def _names(text: str) -> list[str]:
    names = text.split(",")
    if unknown := [name for name in names if name not in SCENARIOS]:
        raise argparse.ArgumentTypeError(f"there is no {', '.join(unknown)}")
    return names


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


if __name__ == "__main__":
    sys.exit(main())
