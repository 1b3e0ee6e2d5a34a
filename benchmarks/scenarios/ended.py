"""Deliveries that have ended, from ten thousand to ten million, and whether they weigh."""

from benchmarks import events, queue_file
from benchmarks.bench import Bench
from benchmarks.figures import Section, Target, middle, pairwise
from benchmarks.probe import Probed, probe, say
from benchmarks.scenarios import growth


def run(bench: Bench) -> Section:
    """Look at relayd on queues with so many ended deliveries."""
    found: dict[int, list[Probed]] = {}
    subscription = {"all": bench.subscription()}
    for size in bench.plan.ended:
        with bench.folder() as folder:
            url = f"{bench.receiver.url}/hook"
            with queue_file.building(folder / "queue.db", {"all": url}) as queue:
                queue.ended(size, events.data())
            for _ in range(bench.plan.scale_repeats):
                each = probe(
                    bench, folder, subscription, [events.data()], count=bench.plan.scale_events
                )
                found.setdefault(size, []).append(each)
                say(bench, f"{size:,} ended deliveries", each)
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
