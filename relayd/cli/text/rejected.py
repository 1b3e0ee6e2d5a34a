"""Rejected input, for people: what to do about it, and what was removed of it."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from relayd.cli.terminal import printable, wrapped
from relayd.config.values import format_size
from relayd.queue.snapshot_values import RejectedInput, RemovedInput
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


def next_step(found: RejectedInput) -> str:
    """Return what to do about one of it."""
    number = found.seq
    if found.webhook is None:
        return (
            f"Fix the producer, then `relayd rejected resubmit {number}` (--type, --data, --id, --created"
            f" replace what is wrong), or `relayd rejected drop {number}`."
        )
    return (
        f"`relayd rejected resubmit {number}` maps it again, by what its entry says now; --type, --id,"
        " --created and --data (the event's, not the body) replace what that gives. Or"
        f" `relayd rejected drop {number}`."
    )
