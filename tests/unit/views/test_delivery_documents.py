"""The documents of deliveries and events: their keys are the contract."""

import json

from listed_deliveries import EVENT, NOW, RETRYING

from relayd.queue.snapshot_values import Page
from relayd.views.deliveries import event_document, page_document


def test_the_documents_keys_are_the_contract() -> None:
    document = page_document(Page((RETRYING,), more=True))
    assert document == {
        "deliveries": [
            {
                "id": "dlv_9f3a1c02_17",
                "event_id": "evt_0b6e2a9b51e3f1a5ef1b77f0b3d3a9c1",
                "event_type": "order.created",
                "market_id": "market_123",
                "object_id": "order_456",
                "sequence": 1_700_000_000_000_000,
                "subscription": "bookkeeping",
                "state": "retrying",
                "hold": None,
                "attempts": 1,
                "accepted_at": "2023-11-14T22:12:20.000Z",
                "accepted_at_unix": NOW - 60,
                "changed_at": "2023-11-14T22:12:30.500Z",
                "changed_at_unix": NOW - 49.5,
                "due_at": "2023-11-14T22:15:20.000Z",
                "due_at_unix": NOW + 120,
                "ended_at": None,
                "ended_at_unix": None,
                "last_attempt_at": "2023-11-14T22:12:20.500Z",
                "last_attempt_at_unix": NOW - 59.5,
                "last_status": None,
                "last_failure": "timeout",
                "last_cause": "timeout",
                "order_key": None,
                "behind": None,
                "behind_first": None,
                "in_flight": None,
                "in_flight_at": None,
                "in_flight_at_old_url": None,
            }
        ],
        "older_before": "dlv_9f3a1c02_17",
    }
    shown = event_document(EVENT)
    assert list(shown) == [
        "id", "type", "market_id", "object_id", "sequence", "created_at", "created_at_unix", "accepted_at", "accepted_at_unix",
        "source", "body", "unfaithful", "deliveries",
    ]  # fmt: skip
    [delivery] = json.loads(json.dumps(shown))["deliveries"]
    assert delivery["history"] == [
        {
            "number": 1,
            "started_at": "2023-11-14T22:12:20.500Z",
            "started_at_unix": NOW - 59.5,
            "duration_ms": 10_000.0,
            "status": None,
            "failure": "timeout",
            "cause": "timeout",
            "subject": "app.example",
            "detail": "no answer within 10 s",
            "answer": "",
            "extra": None,
        }
    ]


def test_the_last_page_leads_nowhere() -> None:
    assert page_document(Page((RETRYING,), more=False))["older_before"] is None
    assert page_document(Page((), more=False)) == {"deliveries": [], "older_before": None}
