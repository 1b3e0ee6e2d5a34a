"""The long form: `python -m torture --minutes N --seed S`.

First the tests that take long, then each parser is fuzzed, then rounds of random faults under load
until the time is over, while an operator reloads and gives commands. In every third round nothing
is killed. Each round has a seed of its own, that follows from S and the round's
number; `--round SEED` runs that round alone. Ends with a table, and with status 1 for any violation;
Ctrl-C or SIGTERM end it with the table of the rounds so far, and with status 130.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

from torture.fuzzing import fuzz, parsers
from torture.harness import impossible_here, torture
from torture.plan import INTERRUPTING, LONG_RETENTION_S, Act, Fault, Plan, make_plan
from torture.violations import Report, violations

STEPS = 60
"""Faults in a round, which takes some three minutes: a retention of 60 s removes events."""

LONGEST_WAIT_S = 3.6
"""Between two faults: half of the time goes into work, and not into starts."""

_TESTS = Path(__file__).parents[1]


class Totals:
    """What all rounds saw together."""

    def __init__(self) -> None:
        self.rounds = 0
        self.events = 0
        self.requests = 0
        self.delivered = 0
        self.twice = 0
        self.kills = 0
        self.peak_memory = 0
        self.open_files = 0
        self.faults: Counter[Fault] = Counter()
        self.acts: Counter[Act] = Counter()
        self.broken: list[str] = []

    def add(self, report: Report, found: list[str]) -> None:
        self.rounds += 1
        self.events += len(report.produced.committed)
        self.kills += report.kills
        self.faults += report.faults
        self.acts += report.acts
        self.peak_memory = max(self.peak_memory, report.peak_memory)
        self.open_files = max(self.open_files, report.open_files)
        for requests in report.requests.values():
            taken = Counter(each.delivery_id for each in requests if each.status == 200)
            self.requests += len(requests)
            self.delivered += len(taken)
            self.twice += taken.total() - len(taken)
        self.broken += [f"round {report.plan.seed}: {each}" for each in found]

    def table(self, minutes: float) -> str:
        lines = [
            "| | |",
            "| --- | --- |",
            f"| minutes | {minutes:.1f} |",
            f"| rounds | {self.rounds} |",
            f"| events accepted | {self.events:,} |",
            f"| deliveries | {self.delivered:,} |",
            f"| requests | {self.requests:,} |",
            f"| received twice | {self.twice:,} |",
            f"| SIGKILLs | {self.kills:,} |",
            f"| most memory | {self.peak_memory / 1e6:.0f} MB |",
            f"| most open files | {self.open_files} |",
            *(f"| {fault.value} | {count} |" for fault, count in sorted(self.faults.items())),
            *(f"| {act.value} | {count} |" for act, count in sorted(self.acts.items())),
            f"| violations | {len(self.broken)} |",
        ]
        return "\n".join(lines)


def main() -> int:
    """Torture for as long as was asked, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m torture")
    parser.add_argument("--minutes", type=float, default=60.0, help="of faults under load")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--round", type=int, help="run the round with this seed, and no other")
    parser.add_argument("--fuzz-minutes", type=float, default=10.0, help="for each parser")
    parser.add_argument("--load", type=float, default=2.0, help="times 300 events a second")
    parser.add_argument(
        "--no-tests", action="store_true", help="leave out the tests that take long"
    )
    parser.add_argument("--update", type=Path, help="write the table into this page")
    options = parser.parse_args()
    if options.round is not None:
        return 1 if run_round(options.round, options.load, Totals()) else 0

    # A shell's background job begins with SIGINT ignored.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    totals = Totals()
    failed = 0
    began = time.monotonic()
    interrupted = False
    try:
        if not options.no_tests:
            failed += run_tests()
        if options.fuzz_minutes > 0:
            failed += fuzz_all(options.fuzz_minutes * 60, options.seed)
        began = time.monotonic()
        while time.monotonic() - began < options.minutes * 60:
            seed = options.seed * 1_000_000 + totals.rounds + 1
            run_round(seed, options.load, totals)
    except KeyboardInterrupt:
        interrupted = True
    table = totals.table((time.monotonic() - began) / 60)
    print(f"\n{table}")
    # What is kept is a whole run.
    if options.update is not None and not interrupted:
        update(options.update, table, options.seed)
    for each in totals.broken:
        print(each)
    if interrupted:
        print("interrupted: the round that was under way is not counted")
        return 130
    return 1 if totals.broken or failed else 0


def update(page: Path, table: str, seed: int) -> None:
    """Write the table between the page's markers."""
    head, _, rest = page.read_text().partition("<!-- torture -->")
    _, _, tail = rest.partition("<!-- /torture -->")
    text = f"The last run, with seed {seed}:\n\n{table}\n"
    page.write_text(f"{head}<!-- torture -->\n{text}<!-- /torture -->{tail}")


def run_round(seed: int, load: float, totals: Totals) -> list[str]:
    """Run one round; its folder is kept when something was violated."""
    plan = round_plan(seed)
    with _Folder() as folder:
        try:
            report = torture(folder.path, plan, load=load, progress=_progress(plan))
        except Exception as error:  # noqa: BLE001 - the other rounds go on
            folder.keep = True
            found = [f"the harness itself failed: {error!r}; its files: {folder.path}"]
            print(f"round {seed}: {found[0]}", flush=True)
            totals.rounds += 1
            totals.broken += found
            return found
        found = violations(report)
        folder.keep = bool(found)
        totals.add(report, found)
        print(
            f"round {seed}: {report.kills} SIGKILLs, {report.acts.total()} acts of the operator,"
            f" {len(report.produced.committed):,} events,"
            f" {sum(map(len, report.requests.values())):,} requests,"
            f" {report.peak_memory / 1e6:.0f} MB; {'; '.join(found) or 'all well'}",
            flush=True,
        )
        if found:
            print(
                f"  its files: {folder.path}; again: python -m torture --round {seed}", flush=True
            )
    return found


def round_plan(seed: int) -> Plan:
    """Return the plan of the round that this seed stands for."""
    without = impossible_here() | (INTERRUPTING if seed % 3 == 0 else frozenset())
    return make_plan(seed, STEPS, without, LONGEST_WAIT_S, acts=tuple(Act))


def _progress(plan: Plan) -> Callable[[str], None]:
    began = time.monotonic()
    kept = "all is kept" if plan.retention_s == LONG_RETENTION_S else "retention is short"
    print(f"round {plan.seed}: {len(plan.steps)} faults, {kept}", flush=True)

    def say(line: str) -> None:
        print(f"  {time.monotonic() - began:4.0f} s: {line}", flush=True)

    return say


class _Folder:
    """A temporary folder that stays where there is something to look at."""

    def __init__(self) -> None:
        self.keep = False
        self.path = Path(tempfile.mkdtemp(prefix="relayd-torture-"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if not self.keep:
            shutil.rmtree(self.path, ignore_errors=kind is not None)


def fuzz_all(seconds: float, seed: int) -> int:
    """Fuzz each parser, and return how many did not bear it."""
    example = (_TESTS.parent / "config.example.yaml").read_bytes()
    failed = 0
    for name in parsers(example):
        number, finding = fuzz(name, seconds, seed, example)
        print(f"fuzzing {name}: {number:,} inputs; {finding or 'all well'}", flush=True)
        failed += finding is not None
    return failed


def run_tests() -> int:
    """Run the tests that the suite leaves out, and return whether they failed."""
    command = [sys.executable, "-m", "pytest", "-q", str(_TESTS / "faults")]
    return subprocess.run(
        command, env={**os.environ, "RELAYD_TORTURE": "1"}, check=False
    ).returncode


if __name__ == "__main__":
    sys.exit(main())
