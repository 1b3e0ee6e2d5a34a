"""Events for people: a table of them."""

from collections.abc import Iterator, Sequence

from relayd.cli.terminal import columns_of, packed, padded, printable, width
from relayd.queue.snapshot_values import ListedEvent
from relayd.views.events import became_of
from relayd.views.moments import short_time, zone

_HEADER = ("TYPE", "OBJECT", "DELIVERIES")
_LONGEST_OBJECT = 24
_INDENT = " " * 10


def table_lines(events: Sequence[ListedEvent], now: float) -> Iterator[str]:
    """Yield a table, two lines for each event, and one more where the terminal is narrow.

    Its header has the zone of the times.
    """
    rows = [
        (
            short_time(each.accepted_at, now),
            each.type,
            _object(each.object_id),
            became_of(each),
        )
        for each in events
    ]
    time = f"TIME {zone(now)}"
    shown: list[tuple[str, ...]] = [(time, *_HEADER), *rows]
    widths = _widths(shown)
    narrow = sum(widths) + 2 * (len(widths) - 1) > width()
    if narrow:
        # Type and object stand on a line of their own.
        shown = [(row[0], row[-1]) for row in shown]
        widths = _widths(shown)
    yield _row(shown[0], widths)
    for event, row in zip(events, shown[1:], strict=True):
        yield _row(row, widths)
        if narrow:
            yield from packed(filter(None, (event.type, _object(event.object_id))), _INDENT)
        inbound = event.source.startswith("inbound ")
        yield from packed((event.id, f"from {event.source}") if inbound else (event.id,), _INDENT)


def _object(object_id: str | None) -> str:
    text = printable(object_id or "")
    return text if len(text) <= _LONGEST_OBJECT else f"{text[: _LONGEST_OBJECT - 1]}…"


def _widths(rows: Sequence[Sequence[str]]) -> list[int]:
    widths = [max(map(columns_of, column)) for column in zip(*rows, strict=True)]
    return [max(8, widths[0]), *widths[1:]]


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(map(padded, cells, widths)).rstrip()
