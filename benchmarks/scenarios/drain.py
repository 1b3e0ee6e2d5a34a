"""An endpoint comes back: its backlog is worked off at the rate limit, and fresh events get by."""

from benchmarks import events, queue_file
from benchmarks.bench import Bench
from benchmarks.figures import Column, Row, Section, Target, percentile
from benchmarks.receiver import busiest
from benchmarks.relayd_process import FAST, Relayd
from benchmarks.spool import Producer

RATE = 1_000
"""The rate limit, in attempts a second."""
_FRESH = 50.0
"""Fresh events a second meanwhile."""


def run(bench: Bench) -> Section:
    """Let deliveries wait for an endpoint that was down, start relayd, and watch them arrive."""
    count = bench.plan.drained
    url = f"{bench.receiver.url}/down"
    with bench.folder() as folder:
        with queue_file.building(folder / "queue.db", {"down": url}) as queue:
            waiting = queue.retrying(count, events.data())
            queue.failing(url)
        arrivals = bench.receiver.arrivals()
        fresh = events.ids(int(_FRESH * (count / RATE + 1)))
        limits = {**FAST, "rate_limit": f"{RATE}/s"}
        with Relayd(folder, {"down": {"url": url}}, defaults=limits) as relayd:
            producer = Producer(folder, relayd.spool, _FRESH, fresh, [events.data()])
            seconds = count / RATE
            arrivals.wait(count, timeout_s=2 * seconds + 30, check=relayd.program.check)
            committed = producer.finish()
            relayd.wait_until_recorded(arrivals, count + len(fresh))
            memory = relayd.program.memory_mib()
    drained_at = sorted(arrivals.first_times(waiting).values())
    began, ended = drained_at[0], drained_at[-1]
    times = [each.at for each in arrivals.all()]
    within = [at for at in times if began <= at <= ended]
    rate = (len(within) - 1) / (ended - began)
    arrived = arrivals.first_times(fresh)
    latencies = [
        (at - committed[each]) * 1000 for each, at in arrived.items() if began < at < ended
    ]
    p50 = percentile(latencies, 50)
    bench.say(f"{count:,} drained at {rate:,.0f}/s of {RATE:,}/s; fresh p50 {p50:.1f} ms")
    return Section(
        "drain",
        "Working off a backlog",
        (
            (
                f"{count:,} deliveries wait for an endpoint that was down, with rate_limit {RATE}/s; "
                f"it answers again, and {_FRESH:.0f} fresh events a second come meanwhile. The rate is "
                "that of all requests from the first to the last of the backlog."
            ),
        ),
        (
            Column("rate", "requests/s", 1),
            Column("busiest", "most in 1 s"),
            Column("p50", "fresh p50 ms", 1),
            Column("p99", "fresh p99 ms", 1),
            Column("memory", "peak MiB"),
        ),
        (
            Row(
                f"{count:,} waiting, limit {RATE:,}/s",
                {
                    "rate": (rate,),
                    "busiest": (float(busiest(times, 1.0)),),
                    "p50": (p50,),
                    "p99": (percentile(latencies, 99),),
                    "memory": (memory,),
                },
            ),
        ),
        (
            Target(
                "drain: off its rate limit by", abs(rate / RATE - 1) * 100, "at most", 2, "%", 1
            ),
            Target("drain: p50 of fresh events", p50, "at most", 1000 / RATE + 10, "ms", 1),
            Target("drain: memory", memory, "at most", 150, "MiB", 0),
        ),
    )
