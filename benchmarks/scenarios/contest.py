"""relayd, its transport alone and the peers, one after the other in each repeat.

All ratios are of figures of the same repeat, so that what else the machine does weighs the same.
"""

from collections.abc import Sequence

from benchmarks import events
from benchmarks.bench import Bench, Run
from benchmarks.contenders import Contender, RelaydContender, TransportContender
from benchmarks.errors import RefusedError
from benchmarks.figures import Bars, Column, Row, Section, Target, middle, pairwise
from benchmarks.peers.celery import CeleryContender
from benchmarks.peers.huey import HueyContender
from benchmarks.peers.syslog_ng import SyslogNgContender

_COLUMNS = (
    Column("rate", "deliveries/s"),
    Column("cpu", "CPU s per 1000", 3),
    Column("memory", "peak MiB"),
    Column("ratio", "relayd is faster by", 2),
)

_RELAYD = RelaydContender()
_TRANSPORT = TransportContender()
_QUEUES: tuple[Contender, ...] = (
    HueyContender(8, "thread"),
    HueyContender(4, "process"),
    CeleryContender(4, late=False),
    CeleryContender(4, late=True),
)
_SYSLOG_NG = SyslogNgContender(8)


def run(bench: Bench) -> Section:
    """Measure every contender, and compare."""
    ceiling = bench.receiver.ceiling(
        events.body("evt_0000_00000000", events.data()), bench.plan.ceiling_s
    )
    bench.say(f"the receiver's ceiling: {ceiling:,.0f} requests/s")
    contenders: list[Contender] = [_RELAYD, _TRANSPORT]
    if bench.peers:
        contenders += [*_QUEUES, _SYSLOG_NG]
    if bench.plan.name == "full":
        contenders.insert(1, RelaydContender("warning"))
    runs: dict[str, list[Run]] = {each.name: [] for each in contenders}
    refused: dict[str, str] = {}
    for repeat in range(bench.plan.repeats):
        for each in contenders:
            if each.name in refused:
                continue
            try:
                found = each.run(bench)
            except RefusedError as error:
                if each in (_RELAYD, _TRANSPORT):
                    raise
                refused[each.name] = str(error)
                bench.say(f"{each.name}: refused: {error}")
                continue
            runs[each.name].append(found)
            bench.say_run(f"{repeat + 1}/{bench.plan.repeats} {each.name}", found)
    whole = {name: found for name, found in runs.items() if name not in refused}
    return _section(
        whole, ceiling, [*_notes(contenders), *(f"{k}: refused: {v}" for k, v in refused.items())]
    )


def _notes(contenders: Sequence[Contender]) -> list[str]:
    return [f"{each.name}: {each.note}." for each in contenders]


def _section(runs: dict[str, list[Run]], ceiling: float, notes: list[str]) -> Section:
    rates = {name: tuple(run.rate for run in found) for name, found in runs.items()}
    own = rates[_RELAYD.name]
    rows = [
        Row(
            name,
            {
                "rate": rates[name],
                "cpu": tuple(run.cpu_s_per_thousand for run in found),
                "memory": tuple(run.memory_mib for run in found),
                "ratio": pairwise(own, rates[name]),
            },
        )
        for name, found in runs.items()
    ]
    rows.append(Row("the receiver alone (wrk)", {"rate": (ceiling,)}))
    return Section(
        "contest",
        "Throughput, side by side",
        (
            (
                f"Events with a body of {events.SMALL} bytes. Peers are measured from the first tenth "
                "of their arrivals to the last one, with their queues filled beforehand."
            ),
            *notes,
        ),
        _COLUMNS,
        tuple(rows),
        tuple(_targets(runs, rates)),
        bars=(Bars("throughput", "Throughput", "deliveries a second", rates),),
    )


def _targets(runs: dict[str, list[Run]], rates: dict[str, tuple[float, ...]]) -> list[Target]:
    own = rates[_RELAYD.name]
    targets = [
        Target(
            "throughput, relative to relayd's transport alone",
            middle(pairwise(own, rates[_TRANSPORT.name])),
            "at least",
            0.6,
        ),
        Target(
            "CPU seconds per thousand deliveries",
            middle([run.cpu_s_per_thousand for run in runs[_RELAYD.name]]),
            "at most",
            0.25,
            "s",
            3,
        ),
        Target(
            "memory", max(run.memory_mib for run in runs[_RELAYD.name]), "at most", 150, "MiB", 0
        ),
    ]
    queues = [rates[each.name] for each in _QUEUES if each.name in rates]
    if queues:
        best = max(queues, key=middle)
        ratio = middle(pairwise(own, best))
        targets.insert(
            0, Target("throughput, relative to the best of huey and Celery", ratio, "at least", 3)
        )
        targets.insert(1, Target("the same, reached for", ratio, "at least", 5))
    return targets
