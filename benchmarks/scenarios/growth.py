"""What grows over several sizes, as a section with a table and one plot for each figure."""

from collections.abc import Callable, Mapping, Sequence

from benchmarks.bench import Bench
from benchmarks.figures import Curve, Section, Target, middle
from benchmarks.probe import COLUMNS, Probed, cells, row, say

_PLOTS = {
    "rate": ("Throughput", "deliveries a second", False),
    "p50": ("Latency p50 at 200 events a second", "milliseconds", False),
    "start": ("Start to first delivery", "seconds", False),
    "memory": ("Peak memory", "MiB", False),
}

MEMORY_MIB = 150


def probed(
    bench: Bench, sizes: Sequence[int], what: str, look: Callable[[int], Probed], repeats: int
) -> dict[int, list[Probed]]:
    """Look at all sizes, so many times over, and tell how it goes on."""
    found: dict[int, list[Probed]] = {}
    for _ in range(repeats):
        for size in sizes:
            found.setdefault(size, []).append(look(size))
            say(bench, f"{size:,} {what}", found[size][-1])
    return found


def section(
    key: str,
    title: str,
    what: str,
    *,
    notes: Sequence[str],
    found: Mapping[int, Sequence[Probed]],
    targets: Sequence[Target] = (),
    curves: Sequence[Curve] = (),
) -> Section:
    """Return the section of what was found at each size."""
    by_size = {size: cells(each) for size, each in found.items()}
    memory = max(each.memory_mib for several in found.values() for each in several)
    return Section(
        key,
        title,
        tuple(notes),
        COLUMNS,
        tuple(row(f"{size:,} {what}", each) for size, each in found.items()),
        (*targets, Target(f"{what}: memory", memory, "at most", MEMORY_MIB, "MiB", 0)),
        (
            *curves,
            *(
                Curve(
                    column,
                    f"{name} over {what}",
                    what,
                    y,
                    {"relayd": [(size, middle(each[column])) for size, each in by_size.items()]},
                    log_y=log_y,
                )
                for column, (name, y, log_y) in _PLOTS.items()
            ),
        ),
    )
