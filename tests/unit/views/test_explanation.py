"""What is said of a delivery that waits, as things around it stand."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from processes import write_config

from relayd.config.partial import read_partial_config
from relayd.core.delivery import State
from relayd.core.endpoint import Endpoint, Health
from relayd.core.hold import Hold
from relayd.core.token_bucket import Rate
from relayd.queue.snapshot_values import Attempt, DeliveryDetail, EventDetail, ListedDelivery
from relayd.views.deliveries import InFlight
from relayd.views.explanation import Explanation, explain_event
from relayd.views.waiting import Circumstances

NOW = 1_700_000_000.0
URL = "https://app.example/hook"

DELIVERY = ListedDelivery(
    seq=1,
    id="dlv_ab_1",
    event_id="evt_1",
    event_type="order.created",
    market_id="market_123",
    subscription="books",
    state=State.PENDING,
    hold=None,
    attempts=0,
    accepted_at=NOW - 60,
    changed_at=NOW - 60,
    due_at=NOW - 60,
    ended_at=None,
    last_started_at=None,
    last_status=None,
    last_failure=None,
)
FAILED = Attempt(1, NOW - 50, 10.0, None, "timeout", "no answer within 10 s", b"")
CALM = Circumstances(
    running=True,
    health={},
    due={URL: 1},
    urls={"books": URL},
    endpoints={URL: Endpoint(URL, Rate(100, 60.0), 8)},
    in_flight={},
    now=NOW,
)


def explained(
    circumstances: Circumstances = CALM, history: tuple[Attempt, ...] = (), **changes: Any
) -> Explanation:
    detail = DeliveryDetail(replace(DELIVERY, **changes), history)
    event = EventDetail(
        "evt_1", "order.created", "market_123", 1, NOW - 60, "socket", b"{}", (detail,)
    )
    [explanation] = explain_event(event, None, circumstances)
    return explanation


@pytest.mark.parametrize(
    ("circumstances", "words"),
    [
        (CALM, "pending: it is due now"),
        (replace(CALM, running=False), "pending: relayd is not running, so nothing is sent"),
        (replace(CALM, due={URL: 907}), "one of 907 at its receiver; the rate limit of 100/min"),
        (
            replace(CALM, health={URL: Health(failures=5, failing_since=NOW - 500)}),
            "failing since",
        ),
        (
            replace(CALM, health={URL: Health(held_until=NOW + 600)}),
            "answered 429 or 503 and is held back",
        ),
    ],
)
def test_what_a_due_delivery_waits_for(circumstances: Circumstances, words: str) -> None:
    explanation = explained(circumstances)
    assert words in explanation.reason
    assert explanation.outcome == "waiting"


def test_a_backlog_is_told_in_time() -> None:
    # 90.7 a minute.
    assert explained(replace(CALM, due={URL: 907})).reason.endswith("lets all of them go in 10m")


def test_a_retry_that_is_due_after_its_endpoints_hold_waits_for_its_own_time() -> None:
    held = replace(CALM, health={URL: Health(held_until=NOW + 30)})
    explanation = explained(held, history=(FAILED,), state=State.RETRYING, due_at=NOW + 3600)
    assert "its next attempt is due" in explanation.reason
    assert "held back" not in explanation.reason
    # What the hold decides is due when it ends.
    explanation = explained(held, history=(FAILED,), state=State.RETRYING, due_at=NOW + 30)
    assert "held back" in explanation.reason


def test_a_retry_says_what_failed_and_when_it_comes() -> None:
    explanation = explained(history=(FAILED,), state=State.RETRYING, due_at=NOW + 120)
    assert "(in 2m)" in explanation.reason
    assert explanation.reason.endswith("failed: no answer within 10 s")
    assert explanation.until == NOW + 120


RECOVERY = "or when its endpoint, which is failing, has recovered"


@pytest.mark.parametrize(
    ("state", "used", "promised"),
    [(State.RETRYING, False, True), (State.RETRYING, True, False), (State.PENDING, False, False)],
)
def test_recovery_is_promised_only_to_a_retry_that_it_releases(
    state: State, used: bool, promised: bool
) -> None:
    failing = replace(CALM, health={URL: Health(failures=5, failing_since=NOW - 500)})
    explanation = explained(failing, (FAILED,), state=state, due_at=NOW + 120, recovery_used=used)
    assert (RECOVERY in explanation.reason) == promised
    assert "its next attempt is due at" in explanation.reason
    assert explanation.until == NOW + 120


def test_an_attempt_in_flight_is_not_due() -> None:
    old = replace(CALM, in_flight={1: InFlight("https://old.example/…", left=True)})
    explanation = explained(old, (FAILED,), state=State.RETRYING)
    assert explanation.reason.startswith(
        "pending: an attempt is in flight at https://old.example/…, a URL that its subscription has left;"
    )
    assert "due" not in explanation.reason
    here = replace(CALM, in_flight={1: InFlight("https://app.example/…", left=False)})
    assert explained(here).reason == "pending: an attempt is in flight at https://app.example/…"
    held = explained(old, state=State.HELD, hold=Hold.PAUSED, due_at=None)
    assert "an attempt is in flight at https://old.example/…" in held.reason
    assert held.outcome == "held"


def test_what_the_daemon_does_not_say_is_left_open() -> None:
    unknown = explained(replace(CALM, in_flight=None))
    assert unknown.reason == "pending: it is due now, or its attempt is in flight"


@pytest.mark.parametrize("hold", Hold)
def test_a_hold_says_what_ends_it(hold: Hold) -> None:
    explanation = explained(state=State.HELD, hold=hold, due_at=None)
    assert explanation.outcome == "held"
    assert explanation.until is None
    assert ("`relayd resume books`" in explanation.reason) == (hold in {Hold.PAUSED, Hold.GONE})


@pytest.mark.parametrize("state", [State.EXHAUSTED, State.CANCELLED])
def test_what_ended_says_how_to_go_on(state: State) -> None:
    explanation = explained(history=(FAILED,), state=state, due_at=None, ended_at=NOW - 1)
    assert explanation.outcome == state.value
    assert "`relayd replay dlv_ab_1`" in explanation.reason
    assert "no answer within 10 s" in explanation.reason


def test_a_number_of_any_length_is_explained(tmp_path: Path) -> None:
    # Python refuses to read more than 4,300 digits.
    config = write_config(
        tmp_path,
        {"large": {"url": "https://a.example/", "where": {"data.n": {"gte": 5}}}},
        allow_networks=[],
    )
    body = f'{{"type":"order.created","data":{{"n":{"9" * 5_000}}}}}'.encode()
    event = EventDetail("evt_1", "order.created", "market_123", 1, NOW - 60, "socket", body, ())
    [explanation] = explain_event(event, read_partial_config(config), CALM)
    assert explanation.outcome == "missed"
