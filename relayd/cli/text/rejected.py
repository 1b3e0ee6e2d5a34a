"""What was removed of rejected input, for people."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from relayd.cli.terminal import printable, wrapped
from relayd.config.values import format_size
from relayd.queue.snapshot_values import RemovedInput
from relayd.views.moments import clock_time


def removed_lines(removed: Sequence[RemovedInput]) -> Iterator[str]:
    """Yield a paragraph for each source of which rejected input was removed, in the order given."""
    for source, of_source in groupby(removed, key=lambda each: each.source):
        parts = sorted(of_source, key=lambda each: -each.count)
        codes = ", ".join(f"{each.code} {each.count:,}" for each in parts)
        yield wrapped(
            f"{printable(source)}: rejected input took more room than one source may have, and the"
            f" oldest was removed: {sum(each.count for each in parts):,} rows,"
            f" {format_size(sum(each.bytes for each in parts))} ({codes}), from"
            f" {clock_time(min(each.first_at for each in parts))} to"
            f" {clock_time(max(each.last_at for each in parts))}",
            "  ",
            first="",
        )
