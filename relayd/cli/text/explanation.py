"""Why an event did or did not arrive, for people."""

from collections.abc import Iterator, Sequence

import click

from relayd.cli.terminal import printable, sentence, wrapped
from relayd.cli.text.event import unfaithful_lines
from relayd.queue.snapshot_values import EventDetail
from relayd.views.explanation import Explanation
from relayd.views.moments import clock_time

_COLOURS = {
    "delivered": "green",
    "exhausted": "red",
    "cancelled": "yellow",
    "held": "yellow",
    "waiting": "yellow",
    "missed": "yellow",
}


def explanation_lines(event: EventDetail, explained: Sequence[Explanation]) -> Iterator[str]:
    """Yield what became of an event at each subscription, and why."""
    yield f"{event.id}  {event.type}"
    yield f"accepted at {clock_time(event.accepted_at)} from {printable(event.source)}"
    about = "" if event.object_id is None else f", about {printable(event.object_id)}"
    yield f"market {printable(event.market_id) or 'unknown'}{about}"
    for line in unfaithful_lines(event):
        yield line.strip()
    for each in explained:
        yield ""
        yield click.style(printable(each.subscription), fg=_COLOURS.get(each.outcome))
        lead = "not matched: " if each.outcome in {"not_matched", "inactive"} else ""
        yield wrapped(f"{lead}{each.reason}.", "  ")
        if each.next_step is not None:
            yield wrapped(sentence(each.next_step), "    ", first="  next: ")
    if not explained:
        yield ""
        yield "No subscriptions."
