"""Deliveries for people: a table of them, and a line for each change."""

from collections.abc import Iterator, Mapping, Sequence

from relayd.queue.snapshot_values import ListedDelivery
from relayd.views.deliveries import InFlight
from relayd.views.moments import about, short_time

_HEADER = ("TIME", "TYPE", "SUBSCRIPTION", "STATE", "TRY", "NEXT OR LAST")


def table_lines(
    deliveries: Sequence[ListedDelivery],
    now: float,
    in_flight: Mapping[int, InFlight] | None = None,
) -> Iterator[str]:
    """Yield a table, two or three lines for each delivery; 80 columns wide with the catalogue's types.

    `in_flight` has what is being attempted, None where that is not known.
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
    widths = [max(map(len, column)) for column in zip(_HEADER, *rows, strict=True)]
    widths[0] = 8
    yield _row(_HEADER, widths)
    for delivery, row in zip(deliveries, rows, strict=True):
        yield _row(row, widths)
        yield f"{'':10}{delivery.event_id}  {delivery.id}"
        if delivery.place is not None and delivery.place.behind is not None:
            yield f"{'':10}behind {delivery.place.behind}"


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    # How many attempts there were is the one number.
    aligned = [
        cell.rjust(width) if index == 4 else cell.ljust(width)
        for index, (cell, width) in enumerate(zip(cells, widths, strict=True))
    ]
    return "  ".join(aligned).rstrip()


class ChangeLines:
    """Makes lines of deliveries as they change, under columns that grow with what comes."""

    def __init__(self) -> None:
        self._widths = [8, 9, 0, 0, 0, 1]

    def line(self, delivery: ListedDelivery, now: float) -> str:
        """Return a line: when, its state, for whom, of what, its id, its attempts, what came last."""
        cells = (
            short_time(delivery.changed_at, now),
            delivery.state.value,
            delivery.subscription,
            delivery.event_type,
            delivery.id,
            str(delivery.attempts),
        )
        self._widths = list(map(max, self._widths, map(len, cells)))
        padded = map(str.ljust, cells, self._widths)
        why = _last(delivery) if delivery.hold is None else delivery.hold.value
        return f"{'  '.join(padded)}  {why}".rstrip()


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
    return str(delivery.last_status or delivery.last_failure or "")
