"""The JSON document of `events`: accepted events, and what became of each in short."""

from relayd.queue.snapshot_values import EventPage, ListedEvent
from relayd.views.moments import moment_fields


def event_page_document(page: EventPage) -> dict[str, object]:
    """Return a page of events; `older_before` is what `--before` takes for the next page."""
    return {
        "events": [_event_document(each) for each in page.events],
        "older_before": None if page.last is None else page.last.id,
    }


def _event_document(event: ListedEvent) -> dict[str, object]:
    """Return one event. `kept` is false once the retention has left its id alone."""
    return {
        "id": event.id,
        "type": event.type,
        "market_id": event.market_id,
        "object_id": event.object_id,
        "sequence": event.sequence,
        **moment_fields("accepted_at", event.accepted_at),
        "source": event.source,
        "kept": event.kept,
        "deliveries": {state.value: count for state, count in event.states.items()},
    }


def became_of(event: ListedEvent) -> str:
    """Return what became of an event's deliveries, in a few words."""
    if not event.kept:
        return "only its id is kept"
    if not event.states:
        return "matched no subscription"
    return ", ".join(f"{count:,} {state.value}" for state, count in event.states.items())
