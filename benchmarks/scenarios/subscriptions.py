"""Subscriptions, from one to ten thousand: matching alone, and the whole way with one endpoint."""

import json
import time
from collections.abc import Callable

from benchmarks import events
from benchmarks.bench import Bench
from benchmarks.figures import Curve, Section, Target
from benchmarks.probe import Probed, probe
from benchmarks.scenarios import growth
from relayd.core.catalogue import EVENT_TYPES
from relayd.core.matching import Matcher, Selection
from relayd.core.where import compile_where

_LEAST_S = 0.05
_ROUNDS = 5

_KINDS: dict[str, Callable[[int, int], Selection]] = {
    "a value of its own each": lambda number, _: Selection(
        ("order.*",), compile_where({"data.object.lane": f"s{number:05d}"})
    ),
    "a threshold each, one in a hundred met": lambda number, count: Selection(
        ("order.*",),
        compile_where({"data.object.total": {"gte": 4_200 + number * 5_000 // count}}),
    ),
    "types in turn, without conditions": lambda number, _: Selection(
        (EVENT_TYPES[number % len(EVENT_TYPES)],)
    ),
}


def run(bench: Bench) -> Section:
    """Time the matcher, then look at relayd with so many subscriptions."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for kind, selection in _KINDS.items():
        for size in bench.plan.matched_subscriptions:
            matcher = Matcher({f"s{n:05d}": selection(n, size) for n in range(size)})
            lines.setdefault(kind, []).append((size, _match_us(matcher)))
        most, took_us = lines[kind][-1]
        bench.say(f"matching against {most:,.0f} subscriptions with {kind}: {took_us:.1f} µs")

    def look(size: int) -> Probed:
        names = [f"s{number:05d}" for number in range(size)]
        subscriptions = {
            name: bench.subscription(where={"data.object.lane": name}) for name in names
        }
        data = [events.data(lane=name) for name in names]
        with bench.folder() as folder:
            return probe(bench, folder, subscriptions, data, count=bench.plan.scale_events)

    found = growth.probed(
        bench, bench.plan.subscriptions, "subscriptions", look, bench.plan.scale_repeats
    )
    most, took_us = lines[next(iter(_KINDS))][-1]
    return growth.section(
        "subscriptions",
        "Subscriptions",
        "subscriptions",
        notes=[
            "All have one endpoint, and each event goes to one of them.",
            *(f"Matching alone, {kind}: {_listed(points)}." for kind, points in lines.items()),
        ],
        found=found,
        targets=[
            Target(f"matching against {most:,.0f} subscriptions", took_us, "at most", 200, "µs", 1)
        ],
        curves=[
            Curve(
                "matching",
                "Matching one event",
                "subscriptions",
                "microseconds",
                lines,
                bound=200,
                log_y=True,
            )
        ],
    )


def _match_us(matcher: Matcher) -> float:
    """Return the microseconds that one event takes, as the best of some rounds."""
    envelope = {
        "id": "evt_1",
        "type": events.EVENT_TYPE,
        "created": events.CREATED,
        "data": json.loads(events.data(lane="s00000")),
        "market_id": "market_123",
        "api_version": "2024-01-01",
    }
    best = float("inf")
    for _ in range(_ROUNDS):
        count, began = 0, time.perf_counter()
        while (took_s := time.perf_counter() - began) < _LEAST_S:
            matcher.match(envelope)
            count += 1
        best = min(best, took_s / count)
    return best * 1e6


def _listed(points: list[tuple[float, float]]) -> str:
    return ", ".join(f"{took_us:,.1f} µs with {size:,.0f}" for size, took_us in points)
