"""What came of inbound webhooks, as `status` says it to people."""

from collections.abc import Iterator

import click

from relayd.cli.terminal import printable, wrapped
from relayd.queue.overview_values import InboundStanding, Overview
from relayd.views.moments import about
from relayd.views.status import Live, inbound_standings

_REFUSED = (
    "Refused webhooks are not in the queue: the dashboard and /metrics count them, the log of"
    " `relayd web` says why."
)


def inbound_lines(overview: Overview, live: Live | None, now: float) -> Iterator[str]:
    """Yield what came of the webhooks of each entry; nothing where there is no entry."""
    standings = inbound_standings(overview, live)
    for name, configured, found in standings:
        words = f"inbound {printable(name)}: {_accepted_words(found, now)}"
        if configured is False:
            words += "; it is no longer in the configuration"
        yield wrapped(words, "  ", first="")
        if found.last_rejected is not None:
            yield click.style(wrapped(_rejected_words(found, now), "    ", first="  "), fg="yellow")
    if standings:
        yield wrapped(_REFUSED, "  ", first="")


def _accepted_words(found: InboundStanding, now: float) -> str:
    if not found.accepted:
        return "nothing accepted yet"
    if not found.accepted_last_day:
        words = "nothing accepted in the last day"
    else:
        most = "at least " if found.at_least else ""
        words = f"{most}{found.accepted_last_day:,} accepted in the last day"
    if found.last_accepted_at is not None:
        return f"{words}, the last {about(max(0.0, now - found.last_accepted_at))} ago"
    return f"{words}; {found.accepted:,} in all"


def _rejected_words(found: InboundStanding, now: float) -> str:
    assert found.last_rejected is not None
    number, rejected_at, code = found.last_rejected
    return (
        f"{found.rejected:,} rejected ({found.rejected_last_day:,} in the last day): signed, but not an"
        f" event. The latest, {about(max(0.0, now - rejected_at))} ago: {printable(code)}; `relayd"
        f" rejected show {number}` shows it, and says what to do"
    )
