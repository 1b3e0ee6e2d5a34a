"""Waiting deliveries, from a thousand to a million: worked off, and standing beside others."""

import shutil
from pathlib import Path

from benchmarks import events, probe, queue_file
from benchmarks.bench import Bench
from benchmarks.errors import RefusedError
from benchmarks.figures import Column, Curve, Row, Section, Target, middle, pairwise
from benchmarks.probe import Probed
from benchmarks.relayd_process import Relayd
from benchmarks.scenarios.growth import MEMORY_MIB

_WARM = 0.1
_COLUMNS = (
    Column("start", "start to first delivery, s", 2),
    Column("own", "own backlog, deliveries/s"),
    Column("rate", "beside it, deliveries/s"),
    Column("p50", "beside it, p50 ms at 200/s", 1),
    Column("p99", "p99 ms", 1),
    Column("memory", "peak MiB"),
)


def run(bench: Bench) -> Section:
    """Measure both at each size, on copies of a file that is built once."""
    own: dict[int, list[Probed]] = {size: [] for size in bench.plan.waiting}
    beside: dict[int, list[Probed]] = {size: [] for size in bench.plan.waiting}
    with bench.folder() as folder:
        waiting = {}
        for size in bench.plan.waiting:
            url = f"{bench.receiver.url}/waiting"
            with queue_file.building(folder / f"{size}.db", {"waiting": url}) as queue:
                waiting[size] = queue.waiting(size, events.data())
        for _ in range(bench.plan.scale_repeats):
            for size in bench.plan.waiting:
                built = folder / f"{size}.db"
                own[size].append(_steadied(bench, built, waiting[size]))
                beside[size].append(_beside(bench, built))
                _say(bench, size, own[size][-1], beside[size][-1])
    return _section(
        {
            size: {
                **probe.cells(beside[size]),
                "start": tuple(each.start_s for each in own[size]),
                "own": tuple(each.rate for each in own[size]),
                "memory": tuple(each.memory_mib for each in (*own[size], *beside[size])),
            }
            for size in bench.plan.waiting
        }
    )


def _say(bench: Bench, size: int, own: Probed, beside: Probed) -> None:
    bench.say(
        f"{size:,} waiting: start {own.start_s:.2f} s, {own.rate:,.0f}/s, beside it "
        f"{beside.rate:,.0f}/s, p50 {beside.p50_ms:.1f} ms, "
        f"{max(own.memory_mib, beside.memory_mib):.0f} MiB"
    )


def _steadied(bench: Bench, built: Path, waiting: list[str]) -> Probed:
    """Work off what waits: where that takes only a moment, the middle one of three times."""
    times = 3 if len(waiting) < bench.plan.scale_events else 1
    found = [_worked_off(bench, built, waiting) for _ in range(times)]
    return sorted(found, key=lambda each: each.rate)[times // 2]


def _worked_off(bench: Bench, built: Path, waiting: list[str]) -> Probed:
    """Start relayd on what waits, and measure until so many of the oldest have arrived."""
    count = min(len(waiting), bench.plan.scale_events)
    with bench.folder() as folder:
        shutil.copyfile(built, folder / "queue.db")
        arrivals = bench.receiver.arrivals()
        with Relayd(folder, {"waiting": bench.subscription("/waiting")}) as relayd:
            arrivals.wait(count, timeout_s=120, check=relayd.program.check)
            memory = relayd.program.memory_mib()
            relayd.program.kill()
        found = arrivals.all()[:count]
        if {each.event_id for each in found} - set(waiting):
            raise RefusedError("something else than what waited arrived")
        if len({each.event_id for each in found}) != count:
            raise RefusedError("something arrived twice")
        warm = int(count * _WARM)
        rate = (count - warm) / (found[-1].at - found[warm - 1].at)
        return Probed(found[0].at - relayd.spawned_at, rate, 0.0, 0.0, memory)


def _beside(bench: Bench, built: Path) -> Probed:
    """Let what waits stand, and measure another subscription's events."""
    with bench.folder() as folder:
        shutil.copyfile(built, folder / "queue.db")
        subscriptions = {
            "waiting": bench.subscription("/waiting", events="user.deleted", rate_limit="1/d"),
            "fresh": bench.subscription("/fresh"),
        }
        return probe.probe(
            bench, folder, subscriptions, [events.data()], count=bench.plan.scale_events
        )


def _section(rows: dict[int, dict[str, tuple[float, ...]]]) -> Section:
    least, most = min(rows), max(rows)
    flat = middle(pairwise(rows[most]["own"], rows[least]["own"]))
    beside = middle(pairwise(rows[most]["rate"], rows[least]["rate"]))
    memory = max(value for cells in rows.values() for value in cells["memory"])
    names = {"own": "its own backlog", "rate": "events beside it"}
    return Section(
        "backlog",
        "Waiting deliveries",
        (
            (
                "Start and own backlog: deliveries that wait for one endpoint are worked off, from the "
                "process's start; the rate is that of the first 10,000 or fewer, less a tenth (of the "
                "middle one of three times, where it is fewer)."
            ),
            "Beside it: what waits stays (its rate_limit is 1/d), and another endpoint gets events.",
        ),
        _COLUMNS,
        tuple(Row(f"{size:,} waiting", cells) for size, cells in rows.items()),
        (
            Target(f"throughput at {most:,} waiting, relative to {least:,}", flat, "at least", 0.9),
            Target("the same, of events beside the backlog", beside, "at least", 0.9),
            Target(
                f"start to first delivery with {most:,} waiting",
                middle(rows[most]["start"]),
                "at most",
                2,
                "s",
            ),
            Target("waiting: memory", memory, "at most", MEMORY_MIB, "MiB", 0),
        ),
        (
            Curve(
                "rate",
                "Throughput over waiting deliveries",
                "waiting deliveries",
                "deliveries a second",
                {label: _line(rows, column) for column, label in names.items()},
            ),
            Curve(
                "p50",
                "Latency beside a backlog, at 200 events a second",
                "waiting deliveries",
                "milliseconds",
                {"p50": _line(rows, "p50"), "p99": _line(rows, "p99")},
            ),
            Curve(
                "start",
                "Start to first delivery over waiting deliveries",
                "waiting deliveries",
                "seconds",
                {"relayd": _line(rows, "start")},
                bound=2,
            ),
            Curve(
                "memory",
                "Peak memory over waiting deliveries",
                "waiting deliveries",
                "MiB",
                {"relayd": _line(rows, "memory")},
                bound=MEMORY_MIB,
            ),
        ),
    )


def _line(rows: dict[int, dict[str, tuple[float, ...]]], column: str) -> list[tuple[float, float]]:
    return [(size, middle(cells[column])) for size, cells in rows.items()]
