"""Fifty endpoints, of which twenty never answer and five drip, and what the others feel of it."""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from benchmarks import events, spool
from benchmarks.bench import Bench
from benchmarks.figures import Column, Row, Section, Target, Values, middle, pairwise, percentile
from benchmarks.processes import Program
from benchmarks.receiver import free_port
from benchmarks.relayd_process import FAST, Relayd
from benchmarks.spool import Producer

HEALTHY, HOLES, DRIPPING = 25, 20, 5
_RATE = 100.0
"""Events a second for the healthy ones together, and as many for the others."""
_WAITING_FOR_EACH = 40
_TIMEOUT_S = 2


@dataclass(frozen=True, slots=True)
class _Found:
    p50_ms: float
    p99_ms: float
    rate: float


def run(bench: Bench) -> Section:
    """Measure with the bad ones and without, in turn."""
    alone: list[_Found] = []
    beside: list[_Found] = []
    for repeat in range(bench.plan.isolation_repeats):
        # Each goes first in turn.
        for bad in (False, True) if repeat % 2 == 0 else (True, False):
            found = _once(bench, bad=bad)
            (beside if bad else alone).append(found)
            bench.say(
                f"{repeat + 1}/{bench.plan.isolation_repeats} healthy endpoints "
                f"{'beside bad ones' if bad else 'alone'}: p50 {found.p50_ms:.1f} ms, "
                f"p99 {found.p99_ms:.1f} ms, {found.rate:,.0f}/s"
            )
    p99_ratio = pairwise([each.p99_ms for each in beside], [each.p99_ms for each in alone])
    rate_ratio = pairwise([each.rate for each in beside], [each.rate for each in alone])
    return Section(
        "isolation",
        "Isolation",
        (
            (
                f"{HEALTHY} healthy endpoints, alone, and beside {HOLES} that take the connection and "
                f"never answer and {DRIPPING} that drip an endless answer; max_in_flight 8, timeout "
                f"{_TIMEOUT_S} s (shorter than the default, so that more attempts end badly)."
            ),
            (
                f"Latency: {_RATE:.0f} events a second for the healthy ones for "
                f"{bench.plan.isolation_s:g} s, and beside the bad ones as many for those."
            ),
            (
                f"Throughput: {bench.plan.isolation_events:,} events at once for the healthy ones, "
                "from COMMIT to the last arrival, while the bad ones have their own waiting."
            ),
        ),
        (
            Column("p50", "p50 ms", 1),
            Column("p99", "p99 ms", 1),
            Column("p99_ratio", "p99, relative", 2),
            Column("rate", "deliveries/s"),
            Column("rate_ratio", "relative", 2),
        ),
        (
            Row("healthy endpoints alone", _cells(alone)),
            Row(
                "beside the bad ones",
                {**_cells(beside), "p99_ratio": p99_ratio, "rate_ratio": rate_ratio},
            ),
        ),
        (
            Target(
                "isolation: p99 beside bad endpoints, relative", middle(p99_ratio), "at most", 1.1
            ),
            Target("isolation: throughput beside them", middle(rate_ratio), "at least", 0.9),
        ),
    )


def _cells(found: list[_Found]) -> dict[str, Values]:
    return {
        "p50": tuple(each.p50_ms for each in found),
        "p99": tuple(each.p99_ms for each in found),
        "rate": tuple(each.rate for each in found),
    }


def _once(bench: Bench, *, bad: bool) -> _Found:
    ports = free_port(), free_port()
    serve = [sys.executable, "-m", "benchmarks.bad_receivers", *map(str, ports)]
    with bench.folder() as folder, Program(serve, log=folder / "bad.log"):
        healthy = {f"h{number:02d}": bench.receiver.url for number in range(HEALTHY)}
        harmful = {f"b{number:02d}": f"http://127.0.0.1:{ports[0]}" for number in range(HOLES)}
        harmful |= {f"d{number:02d}": f"http://127.0.0.1:{ports[1]}" for number in range(DRIPPING)}
        lanes = healthy | harmful if bad else healthy
        subscriptions = {
            name: {"url": f"{url}/{name}", "where": {"data.object.lane": name}}
            for name, url in lanes.items()
        }
        limits = {**FAST, "max_in_flight": 8, "timeout": f"{_TIMEOUT_S}s"}
        with Relayd(folder, subscriptions, defaults=limits) as relayd:
            if bad:
                _fill(relayd, harmful)
            latencies = _latencies(bench, relayd, folder, list(healthy), list(harmful), bad=bad)
            return _Found(
                percentile(latencies, 50),
                percentile(latencies, 99),
                _throughput(bench, relayd, list(healthy)),
            )


def _fill(relayd: Relayd, harmful: Mapping[str, str]) -> None:
    """Let deliveries wait for the bad endpoints, and these be found out as such."""
    names = list(harmful) * _WAITING_FOR_EACH
    rows = zip(events.ids(len(names)), (events.data(lane=name) for name in names), strict=True)
    spool.commit_rows(relayd.spool, rows)
    relayd.wait_until_taken_in()
    time.sleep(_TIMEOUT_S + 0.5)


def _latencies(
    bench: Bench, relayd: Relayd, folder: Path, healthy: list[str], harmful: list[str], *, bad: bool
) -> list[float]:
    """Return the healthy ones' latencies in milliseconds."""
    arrivals = bench.receiver.arrivals()
    lanes = (
        [each for pair in zip(healthy, harmful, strict=True) for each in pair] if bad else healthy
    )
    rate = 2 * _RATE if bad else _RATE
    event_ids = events.ids(int(rate * bench.plan.isolation_s))
    data = [events.data(lane=lane) for lane in lanes]
    committed = Producer(folder, relayd.spool, rate, event_ids, data).finish()
    mine = event_ids[::2] if bad else event_ids
    arrivals.wait(len(mine), timeout_s=30, check=relayd.program.check)
    arrived = arrivals.first_times(mine)
    # The first event of each lane opens its connection.
    return [(arrived[each] - committed[each]) * 1000 for each in mine[2 * HEALTHY :]]


def _throughput(bench: Bench, relayd: Relayd, healthy: list[str]) -> float:
    arrivals = bench.receiver.arrivals()
    event_ids = events.ids(bench.plan.isolation_events)
    data = [events.data(lane=lane) for lane in healthy]
    rows = ((each, data[index % len(data)]) for index, each in enumerate(event_ids))
    began = spool.commit_rows(relayd.spool, rows)
    arrivals.wait(len(event_ids), timeout_s=60, check=relayd.program.check)
    return len(event_ids) / (max(arrivals.first_times(event_ids).values()) - began)
