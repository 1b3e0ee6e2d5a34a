"""Deliveries for people: a table of them, and a line for each change."""

from collections.abc import Iterator, Mapping, Sequence

from relayd.cli.terminal import columns_of, packed, padded, width
from relayd.core.outcome import Cause, Failure
from relayd.queue.snapshot_values import ListedDelivery
from relayd.views.deliveries import InFlight
from relayd.views.moments import about, short_time, zone, zoned_time

_HEADER = ("TYPE", "SUBSCRIPTION", "STATE", "TRY", "NEXT OR LAST")
_NARROW_HEADER = ("STATE", "TRY", "NEXT OR LAST")
_INDENT = " " * 10
_IN_WORDS: Mapping[str, str] = {
    Failure.NAME: "host not found",
    Failure.CONNECT: "no connection",
    Failure.TLS: "TLS",
    Failure.RESET: "connection reset",
    Failure.PROTOCOL: "not HTTP",
    Cause.NO_TLS: "no TLS",
    Cause.TLS_FILES: "TLS files",
    Failure.DEFECT: "error in relayd",
    Cause.MAIL_NAME: "mail host not found",
    Cause.MAIL_CONNECT: "no connection",
    Cause.MAIL_TLS: "TLS",
}
"""Those whose names alone say too little; the others are printed as they are."""


def table_lines(
    deliveries: Sequence[ListedDelivery],
    now: float,
    in_flight: Mapping[int, InFlight] | None = None,
) -> Iterator[str]:
    """Yield a table, two or three lines for each delivery, and one more where the terminal is narrow.

    Its header has the zone of the times. `in_flight` has what is being attempted, None where that is not known.
    """
    rows = [
        (
            short_time(each.accepted_at, now),
            each.event_type,
            each.subscription,
            each.state.value,
            str(each.attempts),
            _next_or_last(each, now, (in_flight or {}).get(each.seq)),
        )
        for each in deliveries
    ]
    header: tuple[str, ...] = (f"TIME {zone(now)}", *_HEADER)
    shown: list[tuple[str, ...]] = [*rows]
    widths = _widths(header, rows)
    narrow = sum(widths) + 2 * (len(widths) - 1) > width()
    if narrow:
        # Type and subscription stand on a line of their own.
        header = (f"TIME {zone(now)}", *_NARROW_HEADER)
        shown = [(row[0], *row[3:]) for row in rows]
        widths = _widths(header, shown)
    numbers = header.index("TRY")
    yield _row(header, widths, numbers)
    for delivery, row in zip(deliveries, shown, strict=True):
        yield _row(row, widths, numbers)
        if narrow:
            yield from packed((delivery.event_type, delivery.subscription), _INDENT)
        yield from packed((delivery.event_id, delivery.id), _INDENT)
        if delivery.place is not None and delivery.place.behind is not None:
            yield from packed((f"behind {delivery.place.behind}",), _INDENT)


def _widths(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[int]:
    widths = [max(map(columns_of, column)) for column in zip(header, *rows, strict=True)]
    return [max(8, widths[0]), *widths[1:]]


def _row(cells: Sequence[str], widths: Sequence[int], numbers: int) -> str:
    aligned = [
        cell.rjust(size) if index == numbers else padded(cell, size)
        for index, (cell, size) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()


class ChangeLines:
    """Makes lines of deliveries as they change, under columns that grow with what comes.

    `columns` is how many there are, None for lines of any length. Once a change does not fit, each has a
    second line, as in the table.
    """

    def __init__(self, columns: int | None = None) -> None:
        self._columns = columns
        self._narrow = False
        self._widths = [0, 9, 0, 0, 0, 1]

    def lines(self, delivery: ListedDelivery, now: float) -> Iterator[str]:
        """Yield when it changed, its state, for whom, of what, its id, its attempts, what came last."""
        cells = (
            zoned_time(delivery.changed_at, now),
            delivery.state.value,
            delivery.subscription,
            delivery.event_type,
            delivery.id,
            str(delivery.attempts),
        )
        self._widths = list(map(max, self._widths, map(columns_of, cells)))
        aligned = list(map(padded, cells, self._widths))
        why = _last(delivery) if delivery.hold is None else delivery.hold.value
        line = f"{'  '.join(aligned)}  {why}".rstrip()
        self._narrow = self._narrow or (
            self._columns is not None and columns_of(line) > self._columns
        )
        if self._narrow:
            yield f"{'  '.join((*aligned[:2], aligned[-1]))}  {why}".rstrip()
            yield from packed(cells[2:5], _INDENT)
        else:
            yield line


def _next_or_last(delivery: ListedDelivery, now: float, in_flight: InFlight | None) -> str:
    last = _last(delivery)
    if in_flight is not None:
        if in_flight.left:
            return "in flight, old URL"
        return f"in flight ({last})" if last else "in flight"
    if delivery.hold is not None:
        return delivery.hold.value
    if delivery.place is not None and delivery.place.behind is not None:
        return "behind another"
    if delivery.due_at is None:
        return last
    wait_s = delivery.due_at - now
    coming = f"in {about(wait_s)}" if wait_s > 0 else "now"
    return f"{coming} ({last})" if last else coming


def _last(delivery: ListedDelivery) -> str:
    if delivery.last_status:
        return str(delivery.last_status)
    why = delivery.last_cause or delivery.last_failure or ""
    return _IN_WORDS.get(why) or why.replace("_", " ")
