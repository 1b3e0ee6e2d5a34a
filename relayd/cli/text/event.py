"""An event in full for a person: its body, its deliveries, and each of their attempts."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from relayd.cli.terminal import (
    packed,
    printable,
    sentence,
    wrapped,
)
from relayd.core.delivery import State
from relayd.core.release import Extra
from relayd.core.shown_json import json_indented, json_printable
from relayd.queue.snapshot_values import Attempt, DeliveryDetail, EventDetail, ListedDelivery
from relayd.views.deliveries import InFlight, after_last_attempt, unfaithful_fields
from relayd.views.holds import HOLD_WORDS
from relayd.views.moments import about, clock_time

_INDENT: Final = " " * 12


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
    yield from packed((event.id, event.type))
    yield f"  created   {clock_time(event.created)}"
    accepted = f"{clock_time(event.accepted_at)} from {event.source}"
    yield wrapped(accepted, _INDENT, first="  accepted  ")
    yield wrapped(event.market_id or "unknown", _INDENT, first="  market    ")
    if event.object_id is not None:
        yield wrapped(event.object_id, _INDENT, first="  object    ")
    yield f"  sequence  {event.sequence}"
    yield from _webhook_lines(event)
    yield from unfaithful_lines(event)
    yield ""
    if event.body is None:
        yield wrapped(
            "Its body was removed after the retention; the id is kept to detect duplicates."
        )
    elif pretty:
        yield from json_printable(json_indented(event.body.decode())).split("\n")
    else:
        yield json_printable(event.body.decode())
    if not event.deliveries:
        yield ""
        yield "No subscription matched it."
    for each in event.deliveries:
        yield ""
        yield from _delivery_lines(each, now, in_flight, unfaithful_fields(event))


def _webhook_lines(event: EventDetail) -> Iterator[str]:
    if (webhook := event.webhook) is not None:
        kept = (
            f"`relayd show --raw {event.id}` prints it"
            if webhook.raw is not None
            else f"its SHA-256 is {webhook.raw_sha256.hex()}"
        )
        text = f"{printable(webhook.key)}, raw body of {webhook.raw_bytes:,} bytes; {kept}"
        yield wrapped(text, _INDENT, first="  webhook   ")


def unfaithful_lines(event: EventDetail) -> Iterator[str]:
    """Yield a warning of fields that not every receiver carries unchanged, if there are any."""
    if fields := unfaithful_fields(event):
        text = (
            f"not every receiver carries {', '.join(fields)} unchanged: an integer past 2^53, a"
            " duplicate key, or half of a surrogate pair"
        )
        yield wrapped(text, "           ", first="  warning  ")


def _delivery_lines(
    detail: DeliveryDetail,
    now: float,
    in_flight: Mapping[int, InFlight] | None,
    unfaithful: Sequence[str],
) -> Iterator[str]:
    delivery = detail.delivery
    yield wrapped(
        f"{delivery.subscription}: {_state_words(delivery, now, in_flight)}", "  ", first=""
    )
    yield f"  {delivery.id}"
    for attempt in detail.attempts:
        head = (
            f"  {attempt.number:>3}  {clock_time(attempt.started_at)}"
            f"  {attempt.duration_s * 1000:>6.0f} ms  {attempt.status or '---'}  "
        )
        yield from wrapped(
            f"{_result(attempt)}{_EXTRA[attempt.extra]}", "       ", first=head
        ).split("\n")
        if attempt.answer:
            for line in attempt.answer.decode(errors="replace").splitlines():
                yield wrapped(line, "       | ")
    if (step := after_last_attempt(detail, unfaithful)) is not None:
        yield from wrapped(sentence(step), "    ", first="  next: ").split("\n")


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
        began = "" if place is None else f"; {printable(place.words)}, and goes on"
        return f"held: {HOLD_WORDS[delivery.hold]}{began}"
    if place is not None:
        return f"{delivery.state.value}, {printable(place.words)}"
    if delivery.ended_at is not None:
        return f"{delivery.state.value} at {clock_time(delivery.ended_at)}"
    if delivery.place is not None and delivery.place.behind is not None:
        return f"{delivery.state.value}, behind {delivery.place.behind} in its order"
    ahead = "the first attempt" if delivery.state is State.PENDING else "the next attempt"
    if delivery.due_at is None or delivery.due_at <= now:
        unless = ", or in flight" if in_flight is None else ""
        return f"{delivery.state.value}, {ahead} is due{unless}"
    return (
        f"{delivery.state.value}, {ahead} at {clock_time(delivery.due_at)}"
        f" (in {about(delivery.due_at - now)})"
    )
