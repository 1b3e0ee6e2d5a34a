"""Endpoints, from one to ten thousand, each with a subscription and connections of its own."""

from benchmarks import events
from benchmarks.bench import Bench
from benchmarks.figures import Section
from benchmarks.probe import Probed, probe
from benchmarks.scenarios import growth


def run(bench: Bench) -> Section:
    """Look at relayd with so many endpoints; the same number of events goes to all together."""

    def look(size: int) -> Probed:
        names = [f"e{number:05d}" for number in range(size)]
        subscriptions = {
            name: bench.subscription(f"/{name}", where={"data.object.lane": name}) for name in names
        }
        data = [events.data(lane=name) for name in names]
        with bench.folder() as folder:
            return probe(bench, folder, subscriptions, data, count=bench.plan.scale_events)

    return growth.section(
        "endpoints",
        "Endpoints",
        "endpoints",
        notes=[
            (
                f"{bench.plan.scale_events:,} events, each for one endpoint, which take turns: with as "
                "many endpoints as events, each delivery opens a connection."
            )
        ],
        found=growth.probed(
            bench, bench.plan.endpoints, "endpoints", look, bench.plan.scale_repeats
        ),
    )
