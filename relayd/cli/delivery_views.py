"""Deliveries and events as `deliveries` and `show` print them: for people, and as JSON documents.

The keys of the documents are part of the contract. Each time stands twice: in ISO 8601 (UTC), and
under the same key with `_unix` in Unix seconds.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from relayd.cli.in_flight import InFlight, in_flight_document
from relayd.cli.moments import about, clock_time, moment_fields, short_time
from relayd.cli.output import json_indented, json_printable, printable, wrapped
from relayd.core.body import Parsed, parse_json
from relayd.core.delivery import Hold, State
from relayd.core.release import Extra
from relayd.queue.snapshot_values import Attempt, DeliveryDetail, EventDetail, ListedDelivery, Page

_HEADER = ("TIME", "TYPE", "SUBSCRIPTION", "STATE", "TRY", "NEXT OR LAST")

_HOLD_WORDS = {
    Hold.PAUSED: "its subscription is paused",
    Hold.INACTIVE: "its subscription has active: false",
    Hold.REMOVED: "its subscription is gone from the configuration",
    Hold.GONE: "its receiver answered 410 Gone; it waits for `relayd resume` or another url",
}


def page_document(page: Page, in_flight: Mapping[int, InFlight] | None = None) -> dict[str, object]:
    """Return a page of deliveries; `older_before` is what `--before` takes for the next page."""
    return {
        "deliveries": [delivery_document(each, in_flight) for each in page.deliveries],
        "older_before": page.deliveries[-1].id if page.more else None,
    }


def event_document(
    event: EventDetail, in_flight: Mapping[int, InFlight] | None = None
) -> dict[str, object]:
    """Return an event; `body` is the text that was sent, `history` a delivery's attempts."""
    return {
        "id": event.id,
        "type": event.type,
        "market_id": event.market_id,
        **moment_fields("created_at", float(event.created)),
        **moment_fields("accepted_at", event.accepted_at),
        "source": event.source,
        "body": None if event.body is None else event.body.decode(),
        "unfaithful": list(unfaithful_fields(event)),
        "deliveries": [
            {
                **delivery_document(each.delivery, in_flight),
                "history": [_attempt_document(attempt) for attempt in each.attempts],
            }
            for each in event.deliveries
        ],
    }


def delivery_document(
    delivery: ListedDelivery, in_flight: Mapping[int, InFlight] | None = None
) -> dict[str, object]:
    """Return one delivery. `in_flight` has what is being attempted, None where that is not known."""
    return {
        "id": delivery.id,
        "event_id": delivery.event_id,
        "event_type": delivery.event_type,
        "market_id": delivery.market_id,
        "subscription": delivery.subscription,
        "state": delivery.state,
        "hold": delivery.hold,
        "attempts": delivery.attempts,
        **moment_fields("accepted_at", delivery.accepted_at),
        **moment_fields("changed_at", delivery.changed_at),
        **moment_fields("due_at", delivery.due_at),
        **moment_fields("ended_at", delivery.ended_at),
        **moment_fields("last_attempt_at", delivery.last_started_at),
        "last_status": delivery.last_status,
        "last_failure": delivery.last_failure,
        **in_flight_document(delivery, in_flight),
    }


def _attempt_document(attempt: Attempt) -> dict[str, object]:
    return {
        "number": attempt.number,
        **moment_fields("started_at", attempt.started_at),
        "duration_ms": round(attempt.duration_s * 1000, 1),
        "status": attempt.status,
        "failure": attempt.failure,
        "detail": attempt.detail,
        "answer": attempt.answer.decode(errors="replace"),
        "extra": attempt.extra,
    }


def table_lines(
    deliveries: Sequence[ListedDelivery],
    now: float,
    in_flight: Mapping[int, InFlight] | None = None,
) -> Iterator[str]:
    """Yield a table, two lines for each delivery; 80 columns wide with the catalogue's types.

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
    if delivery.due_at is None:
        return last
    wait_s = delivery.due_at - now
    coming = f"in {about(wait_s)}" if wait_s > 0 else "now"
    return f"{coming} ({last})" if last else coming


def _last(delivery: ListedDelivery) -> str:
    return str(delivery.last_status or delivery.last_failure or "")


def event_lines(
    event: EventDetail,
    now: float,
    in_flight: Mapping[int, InFlight] | None = None,
    *,
    pretty: bool,
) -> Iterator[str]:
    """Yield an event whole, for a person: its body, its deliveries, and each of their attempts.

    `in_flight` has what is being attempted, None where that is not known.
    """
    yield f"{event.id}  {event.type}"
    yield f"  created   {clock_time(event.created)}"
    yield f"  accepted  {clock_time(event.accepted_at)} from {printable(event.source)}"
    yield f"  market    {printable(event.market_id) or 'unknown'}"
    yield from unfaithful_lines(event)
    yield ""
    if event.body is None:
        yield "Its body was removed after the retention; the id is kept to detect duplicates."
    elif pretty:
        yield from json_printable(json_indented(event.body.decode())).split("\n")
    else:
        yield json_printable(event.body.decode())
    if not event.deliveries:
        yield ""
        yield "No subscription matched it."
    for each in event.deliveries:
        yield ""
        yield from _delivery_lines(each, now, in_flight)


def unfaithful_fields(event: EventDetail) -> tuple[str, ...]:
    """Return the fields of an event's body that not every receiver carries unchanged."""
    if event.body is None:
        return ()
    parsed = parse_json(event.body.decode())
    return parsed.unfaithful if isinstance(parsed, Parsed) else ()


def unfaithful_lines(event: EventDetail) -> Iterator[str]:
    """Yield a warning of fields that not every receiver carries unchanged, if there are any."""
    if fields := unfaithful_fields(event):
        text = (
            f"not every receiver carries {', '.join(fields)} unchanged: an integer past 2^53, a"
            " duplicate key, or half of a surrogate pair"
        )
        yield wrapped(text, "           ", first="  warning  ")


def _delivery_lines(
    detail: DeliveryDetail, now: float, in_flight: Mapping[int, InFlight] | None
) -> Iterator[str]:
    delivery = detail.delivery
    yield f"{delivery.subscription}: {_state_words(delivery, now, in_flight)}"
    yield f"  {delivery.id}"
    for attempt in detail.attempts:
        yield (
            f"  {attempt.number:>3}  {clock_time(attempt.started_at)}"
            f"  {attempt.duration_s * 1000:>6.0f} ms"
            f"  {attempt.status or '---'}  {printable(_result(attempt))}{_EXTRA[attempt.extra]}"
        )
        if attempt.answer:
            for line in attempt.answer.decode(errors="replace").splitlines():
                yield f"       | {printable(line)}"


_EXTRA: Final[Mapping[str | None, str]] = {
    None: "",
    Extra.RECOVERY: " (extra: the endpoint had recovered)",
    Extra.OPERATOR: " (extra: the operator released it)",
}


def _result(attempt: Attempt) -> str:
    if attempt.failure is None:
        return "delivered"
    return f"{attempt.failure}: {attempt.detail}" if attempt.detail else attempt.failure


def _state_words(
    delivery: ListedDelivery, now: float, in_flight: Mapping[int, InFlight] | None
) -> str:
    place = (in_flight or {}).get(delivery.seq)
    if delivery.hold is not None:
        began = "" if place is None else f"; {place.words}, and goes on"
        return f"held: {_HOLD_WORDS[delivery.hold]}{began}"
    if place is not None:
        return f"{delivery.state.value}, {place.words}"
    if delivery.ended_at is not None:
        return f"{delivery.state.value} at {clock_time(delivery.ended_at)}"
    ahead = "the first attempt" if delivery.state is State.PENDING else "the next attempt"
    if delivery.due_at is None or delivery.due_at <= now:
        unless = ", or in flight" if in_flight is None else ""
        return f"{delivery.state.value}, {ahead} is due{unless}"
    return (
        f"{delivery.state.value}, {ahead} at {clock_time(delivery.due_at)}"
        f" (in {about(delivery.due_at - now)})"
    )
