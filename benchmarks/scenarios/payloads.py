"""Payloads, from 300 bytes to the largest body there is."""

from benchmarks import events, spool
from benchmarks.bench import Bench, Run
from benchmarks.figures import Column, Curve, Row, Section, Target, middle
from benchmarks.relayd_process import Relayd
from benchmarks.scenarios.growth import MEMORY_MIB

_LEAST = 100


def run(bench: Bench) -> Section:
    """Deliver events of each size."""
    found: dict[int, list[Run]] = {}
    for size in bench.plan.payloads:
        for _ in range(bench.plan.scale_repeats):
            found.setdefault(size, []).append(_once(bench, size))
            bench.say_run(f"bodies of {size:,} bytes", found[size][-1])
    memory = max(run.memory_mib for runs in found.values() for run in runs)
    rates = [(float(size), middle([run.rate for run in runs])) for size, runs in found.items()]
    megabytes = [(size, rate * size / 1e6) for size, rate in rates]
    return Section(
        "payloads",
        "Payloads",
        ("From the spool's COMMIT to the last recorded 2xx, as in the side-by-side runs.",),
        (
            Column("rate", "deliveries/s"),
            Column("megabytes", "MB/s", 1),
            Column("cpu", "CPU s per 1000", 3),
            Column("memory", "peak MiB"),
        ),
        tuple(
            Row(
                f"bodies of {size:,} bytes",
                {
                    "rate": tuple(run.rate for run in runs),
                    "megabytes": tuple(run.rate * size / 1e6 for run in runs),
                    "cpu": tuple(run.cpu_s_per_thousand for run in runs),
                    "memory": tuple(run.memory_mib for run in runs),
                },
            )
            for size, runs in found.items()
        ),
        (Target("payloads: memory", memory, "at most", MEMORY_MIB, "MiB", 0),),
        (
            Curve(
                "rate",
                "Throughput over payloads",
                "bytes of a body",
                "deliveries a second",
                {"relayd": rates},
                log_y=True,
            ),
            Curve(
                "megabytes",
                "Megabytes a second over payloads",
                "bytes of a body",
                "megabytes a second",
                {"relayd": megabytes},
            ),
            Curve(
                "memory",
                "Peak memory over payloads",
                "bytes of a body",
                "MiB",
                {
                    "relayd": [
                        (float(size), middle([run.memory_mib for run in runs]))
                        for size, runs in found.items()
                    ]
                },
                bound=MEMORY_MIB,
            ),
        ),
    )


def _once(bench: Bench, size: int) -> Run:
    count = max(_LEAST, min(bench.plan.scale_events, bench.plan.payload_bytes // size))
    event_ids = events.ids(count)
    text = events.data(size)
    with bench.folder() as folder, Relayd(folder, {"all": bench.subscription()}) as relayd:
        arrivals = bench.receiver.arrivals()
        cpu_s = relayd.program.cpu_s()
        began = spool.commit_rows(relayd.spool, ((each, text) for each in event_ids))
        ended = relayd.wait_until_recorded(arrivals, count)
        cpu_s = relayd.program.cpu_s() - cpu_s
        memory = relayd.program.memory_mib()
    arrivals.first_times(event_ids)
    return Run(count, ended - began, cpu_s, memory)
