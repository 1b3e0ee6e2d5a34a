"""What is measured side by side in one repeat: relayd, its transport alone, and the peers' frame."""

import json
import sys
import time
from collections.abc import Sequence
from typing import Protocol

from benchmarks import events, queue_file, spool
from benchmarks.bench import Bench, Run
from benchmarks.errors import RefusedError
from benchmarks.processes import Program, run_whole
from benchmarks.receiver import Arrivals
from benchmarks.relayd_process import Relayd

IN_FLIGHT = 64
_WARM = 0.1
"""So much of a peer's run is not measured: processes start, modules are loaded, pools fill."""
_PEER_TIMEOUT_S = 60.0


class Contender(Protocol):
    """Something that delivers events. `name` is shown, `note` says how it is set up."""

    @property
    def name(self) -> str:
        """A short name."""

    @property
    def note(self) -> str:
        """How it is set up."""

    def run(self, bench: Bench) -> Run:
        """Deliver events to the receiver, and measure. Refuses when one did not arrive."""


class RelaydContender:
    """relayd from the spool's COMMIT to the last recorded 2xx."""

    name = "relayd"

    def __init__(self, level: str = "info") -> None:
        self._level = level
        if level != "info":
            self.name = f"relayd, log.level {level}"
        self.note = (
            "all events in one transaction into the spool of a running relayd; from that COMMIT to "
            "the last recorded 2xx, taking in and all of its CPU time since it started included; "
            f"synchronous=FULL, max_in_flight {IN_FLIGHT}, log.level {level}"
        )

    def run(self, bench: Bench) -> Run:
        """Measure the whole of it: nothing is left out as warming up."""
        event_ids = events.ids(bench.plan.events)
        text = events.data()
        with bench.folder() as folder:
            with Relayd(folder, {"all": bench.subscription()}, level=self._level) as relayd:
                arrivals = bench.receiver.arrivals()
                cpu = relayd.program.cpu_s()
                began = spool.commit_rows(relayd.spool, ((each, text) for each in event_ids))
                ended = relayd.wait_until_recorded(arrivals, len(event_ids))
                cpu_s = relayd.program.cpu_s() - cpu
                memory = relayd.program.memory_mib()
            arrivals.first_times(event_ids)
            if arrivals.count != len(event_ids):
                raise RefusedError(f"{len(event_ids)} events came in {arrivals.count} requests")
            queue_file.check_recorded(folder / "queue.db", len(event_ids))
        return Run(len(event_ids), ended - began, cpu_s, memory)


class TransportContender:
    """relayd's transport alone, in a process of its own."""

    name = "relayd's transport alone"
    note = f"`attempt()` over `Transport`, {IN_FLIGHT} tasks; no queue, no signature, no record"

    def run(self, bench: Bench) -> Run:
        """Send the same bodies."""
        event_ids = events.ids(bench.plan.events)
        prefix = event_ids[0].rpartition("_")[0]
        arrivals = bench.receiver.arrivals()
        module = [sys.executable, "-m", "benchmarks.transport_alone"]
        arguments = [f"{bench.receiver.url}/hook", prefix, str(len(event_ids)), str(IN_FLIGHT)]
        found = json.loads(run_whole([*module, *arguments], timeout_s=120))
        arrivals.wait(len(event_ids), timeout_s=5)
        arrivals.first_times(event_ids)
        return Run(len(event_ids), found["seconds"], found["cpu_s"], found["memory_mib"])


def watch(arrivals: Arrivals, programs: Sequence[Program], event_ids: Sequence[str]) -> Run:
    """Measure a peer's programs from the first tenth of its arrivals to the last one.

    So neither their start counts nor what they do afterwards.
    """
    count = len(event_ids)
    until = time.monotonic() + _PEER_TIMEOUT_S
    warm: tuple[int, float] | None = None
    while arrivals.look() < count:
        if warm is None and arrivals.count >= count * _WARM:
            warm = (arrivals.count, _cpu_s(programs))
        for program in programs:
            program.check()
        if time.monotonic() > until:
            raise RefusedError(f"only {arrivals.count} of {count} came in {_PEER_TIMEOUT_S:g} s")
        time.sleep(0.005)
    cpu_s = _cpu_s(programs)
    memory = sum(program.memory_mib() for program in programs)
    if warm is None:
        raise RefusedError("it was over before it could be measured: too few events")
    before, cpu_before_s = warm
    arrivals.first_times(event_ids)
    times = [arrival.at for arrival in arrivals.all()]
    return Run(count - before, times[count - 1] - times[before - 1], cpu_s - cpu_before_s, memory)


def _cpu_s(programs: Sequence[Program]) -> float:
    return sum(program.cpu_s() for program in programs)
