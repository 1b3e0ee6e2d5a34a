"""Events for people: a table of them."""

from collections.abc import Iterator, Sequence

from relayd.cli.terminal import printable
from relayd.queue.snapshot_values import ListedEvent
from relayd.views.events import became_of
from relayd.views.moments import short_time

_HEADER = ("TIME", "TYPE", "OBJECT", "DELIVERIES")
_LONGEST_OBJECT = 24


def table_lines(events: Sequence[ListedEvent], now: float) -> Iterator[str]:
    """Yield a table, two lines for each event; 80 columns wide with the catalogue's types."""
    rows = [
        (
            short_time(each.accepted_at, now),
            each.type,
            _object(each.object_id),
            became_of(each),
        )
        for each in events
    ]
    widths = [max(map(len, column)) for column in zip(_HEADER, *rows, strict=True)]
    widths[0] = 8
    yield _row(_HEADER, widths)
    for event, row in zip(events, rows, strict=True):
        yield _row(row, widths)
        yield f"{'':10}{event.id}"


def _object(object_id: str | None) -> str:
    text = printable(object_id or "")
    return text if len(text) <= _LONGEST_OBJECT else f"{text[: _LONGEST_OBJECT - 1]}…"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(map(str.ljust, cells, widths)).rstrip()
