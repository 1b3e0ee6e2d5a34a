"""Why an event did or did not arrive, for people."""

from collections.abc import Iterator, Sequence

import click

from relayd.cli.terminal import packed, printable, sentence, wrapped
from relayd.cli.text.event import unfaithful_lines
from relayd.core.js_json import Parsed, parse_json
from relayd.core.own_events import is_own
from relayd.core.sentence import sentence_about
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
_PASSED_OVER = frozenset({"not_matched", "inactive"})


def _own_sentence(event: EventDetail) -> str | None:
    """Return what one of relayd's own events says, as a mail or a chat says it; None for others."""
    if event.body is None or not is_own(event.type):
        return None
    parsed = parse_json(event.body.decode())
    body = parsed.value if isinstance(parsed, Parsed) else None
    return str(sentence_about(body)) if isinstance(body, dict) else None


def explanation_lines(event: EventDetail, explained: Sequence[Explanation]) -> Iterator[str]:
    """Yield what became of an event at each subscription, and why."""
    yield from packed((event.id, event.type))
    yield wrapped(
        f"accepted at {clock_time(event.accepted_at)} from {event.source}", "  ", first=""
    )
    about = "" if event.object_id is None else f", about {event.object_id}"
    yield wrapped(f"market {event.market_id or 'unknown'}{about}", "  ", first="")
    if (about_itself := _own_sentence(event)) is not None:
        yield ""
        yield wrapped(about_itself)
    for line in unfaithful_lines(event):
        yield line.strip()
    for each in explained:
        yield ""
        yield click.style(printable(each.subscription), fg=_COLOURS.get(each.outcome))
        lead = "not matched: " if each.outcome in _PASSED_OVER else ""
        yield wrapped(f"{lead}{each.reason}.", "  ")
        if each.next_step is not None:
            yield wrapped(sentence(each.next_step), "    ", first="  next: ")
    if passed_over := [each for each in explained if each.outcome in _PASSED_OVER]:
        name = passed_over[0].subscription if len(passed_over) == 1 else "NAME"
        yield ""
        yield wrapped(
            f"To send it where it was not matched, change what `{name}` wants, then `relayd reload`"
            f" and `relayd replay --backfill {name} {event.id}`."
        )
    if not explained:
        yield ""
        yield "No subscriptions."
