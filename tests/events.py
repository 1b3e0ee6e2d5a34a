"""Events for tests."""

import json
from typing import Any

from relayd.core.event import Event, EventDefaults
from relayd.core.event_input import event_from_line

DEFAULTS = EventDefaults("market_123", "2024-01-01")
CREATED = 1_640_995_200


def make_event(
    event_id: str = "evt_1", event_type: str = "order.created", data: Any = None
) -> Event:
    """Return a valid event with this id, type and data."""
    fields = {
        "id": event_id,
        "type": event_type,
        "created": CREATED,
        "data": {"object": {"id": "order_456"}} if data is None else data,
    }
    event = event_from_line(json.dumps(fields).encode(), DEFAULTS, new_id="evt_unused", now=CREATED)
    assert isinstance(event, Event)
    return event
