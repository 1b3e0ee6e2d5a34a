"""Deliveries and an event as the queue lists them, for tests of how they are shown."""

from dataclasses import replace

from relayd.core.delivery import State
from relayd.queue.snapshot_values import Attempt, DeliveryDetail, EventDetail, ListedDelivery

NOW = 1_700_000_000.0

RETRYING = ListedDelivery(
    seq=17,
    id="dlv_9f3a1c02_17",
    event_id="evt_0b6e2a9b51e3f1a5ef1b77f0b3d3a9c1",
    event_type="order.created",
    market_id="market_123",
    subscription="bookkeeping",
    state=State.RETRYING,
    hold=None,
    attempts=1,
    accepted_at=NOW - 60,
    changed_at=NOW - 49.5,
    due_at=NOW + 120,
    ended_at=None,
    last_started_at=NOW - 59.5,
    last_status=None,
    last_failure="timeout",
    last_cause="timeout",
    object_id="order_456",
    sequence=1_700_000_000_000_000,
)
DELIVERED = replace(
    RETRYING,
    state=State.DELIVERED,
    due_at=None,
    ended_at=NOW,
    last_status=204,
    last_failure=None,
    last_cause=None,
)
ATTEMPT = Attempt(
    1,
    NOW - 59.5,
    10.0,
    None,
    "timeout",
    "no answer within 10 s",
    b"",
    cause="timeout",
    subject="app.example",
)
EVENT = EventDetail(
    id=RETRYING.event_id,
    type="order.created",
    market_id="market_123",
    created=1_700_000_000,
    accepted_at=NOW - 60,
    source="spool market",
    body=b'{"id":"evt_1","data":{"name":"\xc2\x9b\xe2\x80\xaeZo\xc3\xab"}}',
    deliveries=(DeliveryDetail(RETRYING, (ATTEMPT,)),),
)
