"""Deliveries that have ended, from ten thousand to ten million, and whether they weigh."""

from benchmarks import events, queue_file
from benchmarks.bench import Bench
from benchmarks.figures import Section, Target, middle, pairwise
from benchmarks.probe import Probed, probe
from benchmarks.scenarios import growth


def run(bench: Bench) -> Section:
    """Look at relayd on queues with so many ended deliveries."""
    with bench.folder() as parent:
        for size in bench.plan.ended:
            url = f"{bench.receiver.url}/hook"
            folder = parent / str(size)
            folder.mkdir()
            with queue_file.building(folder / "queue.db", {"all": url}) as queue:
                queue.ended(size, events.data())

        def look(size: int) -> Probed:
            subscriptions = {"all": bench.subscription()}
            folder, count = parent / str(size), bench.plan.scale_events
            return probe(bench, folder, subscriptions, [events.data()], count=count)

        found = growth.probed(
            bench, bench.plan.ended, "ended deliveries", look, bench.plan.scale_repeats
        )
    least, most = min(found), max(found)
    flat = middle(
        pairwise([each.rate for each in found[most]], [each.rate for each in found[least]])
    )
    return growth.section(
        "ended",
        "Ended deliveries",
        "ended deliveries",
        notes=[
            (
                f"The queue was filled by SQL, with {queue_file.DELIVERIES_OF_AN_ENDED_EVENT} "
                "deliveries for each event, each with its attempt."
            )
        ],
        found=found,
        targets=[
            Target(f"throughput with {most:,} ended, relative to {least:,}", flat, "at least", 0.9)
        ],
    )
