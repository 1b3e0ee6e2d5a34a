"""The events that everything measured gets: orders of a market, of any size."""

import json
from collections.abc import Iterator
from itertools import count

EVENT_TYPE = "order.created"
CREATED = 1_640_995_200
SECRET = "a-secret-for-measuring-only"  # noqa: S105 - signs nothing that matters
SMALL = 320
"""Bytes of the usual body."""

_runs = count(1)


def ids(number: int) -> list[str]:
    """Return so many ids that no other run of this process has."""
    run = next(_runs)
    return [f"evt_{run:04d}_{index:08d}" for index in range(number)]


def data(body_bytes: int = SMALL, **more: object) -> str:
    """Return an event's data as JSON; the whole body is so long where that is possible.

    `more` stands in the order, for conditions to be met or not.
    """
    order = {
        "id": "order_456",
        "customer_id": "user_789",
        "status": "pending",
        "total": 4250,
        "currency": "usd",
        **more,
        "note": "",
    }
    lacking = body_bytes - len(body("evt_0000_00000000", _compact({"object": order})))
    order["note"] = "x" * max(0, lacking)
    return _compact({"object": order})


def body(event_id: str, data_text: str) -> str:
    """Return the body that relayd sends for such an event; the peers send the same."""
    return (
        f'{{"id":"{event_id}","type":"{EVENT_TYPE}","created":{CREATED},"data":{data_text},'
        '"market_id":"market_123","api_version":"2024-01-01"}'
    )


def bodies(event_ids: list[str], data_text: str) -> Iterator[str]:
    """Return each event's body."""
    return (body(event_id, data_text) for event_id in event_ids)


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))
