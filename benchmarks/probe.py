"""One look at a relayd in some state: how it starts, how fast it is, how soon events arrive."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import events, spool
from benchmarks.bench import Bench
from benchmarks.figures import Column, Row, Values, percentile
from benchmarks.relayd_process import Relayd
from benchmarks.spool import Producer, make_spool

_RATE = 200.0
_LATENCY_S = 3.0

COLUMNS = (
    Column("start", "start to first delivery, s", 2),
    Column("rate", "deliveries/s"),
    Column("p50", "p50 ms at 200/s", 1),
    Column("p99", "p99 ms", 1),
    Column("memory", "peak MiB"),
)


@dataclass(frozen=True, slots=True)
class Probed:
    """What one look found. `start_s` is from the process's start to its first request's arrival."""

    start_s: float
    rate: float
    p50_ms: float
    p99_ms: float
    memory_mib: float


def probe(
    bench: Bench,
    folder: Path,
    subscriptions: Mapping[str, Mapping[str, object]],
    data: Sequence[str],
    *,
    count: int,
) -> Probed:
    """Start relayd on what is in `folder`, with one event in the spool, and measure.

    `data` are the events' contents, taken in turn. The rate is from COMMIT to the last arrival.
    """
    if not (folder / "spool.db").exists():
        make_spool(folder / "spool.db")
    [first] = events.ids(1)
    spool.commit_rows(folder / "spool.db", [(first, data[0])])
    arrivals = bench.receiver.arrivals()
    with Relayd(folder, subscriptions) as relayd:
        arrivals.wait(1, timeout_s=60, check=relayd.program.check)
        start_s = arrivals.first_times([first])[first] - relayd.spawned_at
        arrivals = bench.receiver.arrivals()
        event_ids = events.ids(count)
        rows = ((each, data[index % len(data)]) for index, each in enumerate(event_ids))
        began = spool.commit_rows(relayd.spool, rows)
        arrivals.wait(count, timeout_s=120, check=relayd.program.check)
        rate = count / (max(arrivals.first_times(event_ids).values()) - began)
        arrivals = bench.receiver.arrivals()
        event_ids = events.ids(int(_RATE * _LATENCY_S))
        committed = Producer(folder, relayd.spool, _RATE, event_ids, data).finish()
        arrivals.wait(len(event_ids), timeout_s=60, check=relayd.program.check)
        arrived = arrivals.first_times(event_ids)
        memory = relayd.program.memory_mib()
    latencies = [(arrived[each] - committed[each]) * 1000 for each in event_ids]
    return Probed(start_s, rate, percentile(latencies, 50), percentile(latencies, 99), memory)


def row(label: str, found: Sequence[Probed]) -> Row:
    """Return the repeats as a line of a table with these columns."""
    return Row(label, cells(found))


def cells(found: Sequence[Probed]) -> dict[str, Values]:
    """Return the repeats' figures by column."""
    return {
        "start": tuple(each.start_s for each in found),
        "rate": tuple(each.rate for each in found),
        "p50": tuple(each.p50_ms for each in found),
        "p99": tuple(each.p99_ms for each in found),
        "memory": tuple(each.memory_mib for each in found),
    }


def say(bench: Bench, label: str, found: Probed) -> None:
    """Tell what one look found."""
    bench.say(
        f"{label}: start {found.start_s:.2f} s, {found.rate:,.0f}/s, p50 {found.p50_ms:.1f} ms, "
        f"{found.memory_mib:.0f} MiB"
    )
