"""From the producer's COMMIT to the request's arrival, at a steady rate; and relayd with no work."""

import time
from dataclasses import dataclass

from benchmarks import events
from benchmarks.bench import Bench
from benchmarks.figures import Column, Curve, Row, Section, Target, middle, percentile
from benchmarks.relayd_process import Relayd
from benchmarks.spool import Producer

RATE = 200.0
"""Events a second."""

_WARM_EVENTS = 50
"""The first ones find no connections yet, and are not counted."""


def run(bench: Bench) -> Section:
    """Measure latency, then idle CPU time."""
    runs: list[_Found] = []
    for repeat in range(bench.plan.latency_repeats):
        runs.append(_once(bench))
        found = runs[-1].latencies_ms
        bench.say(
            f"{repeat + 1}/{bench.plan.latency_repeats} latency at {RATE:.0f}/s: p50 "
            f"{percentile(found, 50):.1f} ms, p95 {percentile(found, 95):.1f} ms, p99 "
            f"{percentile(found, 99):.1f} ms; idle {runs[-1].idle_percent:.2f} % of a core"
        )
    cells = {
        f"p{percent}": tuple(percentile(each.latencies_ms, percent) for each in runs)
        for percent in (50, 95, 99)
    }
    cells["commit"] = tuple(percentile(each.commits_ms, 99) for each in runs)
    cells["cpu"] = tuple(each.cpu_s_per_thousand for each in runs)
    cells["idle"] = tuple(each.idle_percent for each in runs)
    return Section(
        "latency",
        "Latency and idling",
        (
            (
                f"{RATE:.0f} events a second for {bench.plan.latency_s:g} s, each committed (and "
                "synced) by itself into the spool at its time, whether or not those before it were delivered. "
                "Latency is from when COMMIT returned to when nginx took up the request. nginx's clock "
                "counts milliseconds: half of one is added."
            ),
        ),
        (
            Column("p50", "p50 ms", 1),
            Column("p95", "p95 ms", 1),
            Column("p99", "p99 ms", 1),
            Column("commit", "the producer's own COMMIT, p99 ms", 1),
            Column("cpu", "CPU s per 1000", 3),
            Column("idle", "idle, % of a core", 2),
        ),
        (Row(f"relayd at {RATE:.0f} events/s", cells),),
        (
            Target("latency p50", middle(cells["p50"]), "at most", 5, "ms", 1),
            Target("latency p99", middle(cells["p99"]), "at most", 25, "ms", 1),
            Target("idle", middle(cells["idle"]), "at most", 0.5, "% of a core", 2),
        ),
        (
            Curve(
                "latency",
                f"Latency at {RATE:.0f} events a second",
                "percent of the events that arrived later",
                "milliseconds",
                {"relayd": _tail([ms for each in runs for ms in each.latencies_ms])},
                log_y=True,
            ),
        ),
    )


@dataclass(frozen=True, slots=True)
class _Found:
    latencies_ms: list[float]
    commits_ms: list[float]
    cpu_s_per_thousand: float
    idle_percent: float


def _once(bench: Bench) -> _Found:
    event_ids = events.ids(int(RATE * bench.plan.latency_s))
    with bench.folder() as folder, Relayd(folder, {"all": bench.subscription()}) as relayd:
        arrivals = bench.receiver.arrivals()
        cpu_s = relayd.program.cpu_s()
        producer = Producer(folder, relayd.spool, RATE, event_ids, [events.data()])
        committed = producer.finish()
        relayd.wait_until_recorded(arrivals, len(event_ids), timeout_s=30)
        cpu_s = relayd.program.cpu_s() - cpu_s
        arrived = arrivals.first_times(event_ids)
        time.sleep(0.5)
        busy_s, began = relayd.program.busy_s(), time.monotonic()
        time.sleep(bench.plan.idle_s)
        idle = (relayd.program.busy_s() - busy_s) / (time.monotonic() - began) * 100
    counted = event_ids[_WARM_EVENTS:]
    latencies = [(arrived[each] - committed[each]) * 1000 for each in counted]
    return _Found(latencies, producer.commits_ms, cpu_s / len(event_ids) * 1000, idle)


def _tail(latencies: list[float]) -> list[tuple[float, float]]:
    """Return the latency that so many percent of the events exceeded."""
    shares = (50, 40, 30, 20, 10, 5, 4, 3, 2, 1, 0.5, 0.2, 0.1)
    return [(share, percentile(latencies, 100 - share)) for share in shares]
