"""What relayd says itself: once for each outage, and never about its own events."""

from dataclasses import replace

import pytest

from relayd.core.acceptance import RejectedRow
from relayd.core.catalogue import RELAYD_TYPES, sample
from relayd.core.delivery import AttemptRecord, Delivery, State, decide
from relayd.core.endpoint import Endpoint, Health
from relayd.core.event import EventDefaults, Rejection, SpoolRow
from relayd.core.event_input import own_event
from relayd.core.matching import Selection
from relayd.core.operating_events import (
    Refused,
    reload_refused,
    source_recovered,
    source_unavailable,
)
from relayd.core.outcome import Failure, Outcome
from relayd.core.own_events import (
    Counted,
    OwnEvent,
    Report,
    after_attempt,
    after_change,
    after_rejection,
    is_own,
    named,
    wanted_types,
)
from relayd.core.token_bucket import Rate

URL = "https://app.example/hook"
ENDPOINT = Endpoint(URL, Rate(100, 60.0), 8)
OK = Outcome(0.1, status=200)
GONE = Outcome(0.1, status=410, failure=Failure.STATUS, detail="answered 410")
FAILED = Outcome(0.1, status=503, failure=Failure.STATUS, detail="answered 503")


def _record(
    outcome: Outcome, schedule: tuple[float, ...] = (1.0,), kind: str = "order.created"
) -> AttemptRecord:
    delivery = Delivery(1, "dlv_1", "books", "evt_1", kind, State.PENDING, 0, 0, 9.0, b"{}")
    return decide(delivery, outcome, schedule, started_at=9.0, now=10.0, jitter=0.0)


def _tell(outcomes: str, kind: str = "order.created") -> list[str]:
    """Return the types told of over outcomes that come every 31 seconds, `.` for a success."""
    health = Health()
    told: list[Report] = []
    for index, each in enumerate(outcomes):
        outcome, now = OK if each == "." else FAILED, 10.0 + 31.0 * index
        if health.recovers_at <= now:
            recovered = health.recovered(1, now)
            told += after_change(URL, ["books"], int(now), before=health, after=recovered)
            health = recovered
        after = health.after(outcome, ENDPOINT, now, own_event=is_own(kind))
        record = replace(_record(outcome, kind=kind), decided_at=now)
        told += after_attempt(record, URL, ["books"], before=health, after=after)
        health = after
    return [each.type.removeprefix("relayd.endpoint.") for each in told]


def test_each_outage_is_told_once_and_its_end_once() -> None:
    assert _tell("......xx.xx.xx.") == []
    assert _tell("xxxxxxxxxx") == ["failing"]
    assert _tell("xxxxx.xx.xxxx.") == ["failing"]
    assert _tell("xxxxx...xx.xxxx....") == ["failing", "recovered", "failing", "recovered"]


def test_relayds_own_events_make_none() -> None:
    assert _tell("xxxxx....xxxx....", kind="relayd.endpoint.failing") == []
    exhausted = _record(FAILED, (), "relayd.delivery.exhausted")
    assert after_attempt(exhausted, URL, ["books"], before=Health(), after=Health()) == []


def test_an_exhausted_delivery_is_counted() -> None:
    [told] = after_attempt(_record(FAILED, ()), URL, ["books"], before=Health(), after=Health())
    assert isinstance(told, Counted)
    assert told.event(12.5) == OwnEvent(
        "relayd.delivery.exhausted",
        12,
        {
            "object": {
                "subscription": "books",
                "event_type": "order.created",
                "attempts": 1,
                "reason": "answered 503",
                "count": 1,
                "since": 10,
                "ids": ["dlv_1"],
                "next": (
                    "the receiver is overloaded or in maintenance; then `relayd replay books`"
                ),
            }
        },
    )


@pytest.mark.parametrize(
    ("outcome", "then"),
    [
        (
            Outcome(0.1, status=404, failure=Failure.STATUS, detail="answered 404"),
            (
                "is the path of the `url` right? Correct it in the configuration, then `relayd reload`;"
                " then `relayd replay books`"
            ),
        ),
        (
            Outcome(0.1, failure=Failure.CONNECT, detail="refused"),
            (
                "is the receiver running, and is the port in `url` of books right? Then `relayd replay"
                " books`"
            ),
        ),
        (
            Outcome(0.1, status=418, failure=Failure.STATUS, detail="answered 418"),
            "relayd replay books",
        ),
    ],
)
def test_what_is_exhausted_is_sent_again_after_the_repair(outcome: Outcome, then: str) -> None:
    [told] = after_attempt(_record(outcome, ()), URL, ["books"], before=Health(), after=Health())
    assert isinstance(told, Counted)
    thing = told.event(12.5).data["object"]
    assert isinstance(thing, dict)
    assert thing["next"] == then
    assert [*thing][-1] == "next"
    # `rename` gives what was counted to another name, in its words too.
    renamed = replace(told, subject="shop").event(12.5).data["object"]
    assert isinstance(renamed, dict)
    assert renamed["next"] == then.replace("books", "shop")


@pytest.mark.parametrize("kind", ["order.created", "relayd.endpoint.failing"])
def test_a_410_is_told_whatever_it_was_for(kind: str) -> None:
    record = _record(GONE, kind=kind)
    told = after_attempt(
        record, "https://app.example/…", ["books"], before=Health(), after=Health()
    )
    [held] = [each for each in told if isinstance(each, OwnEvent)]
    assert held.type == "relayd.subscription.held"
    assert held.data["object"] == {
        "subscription": "books",
        "url": "https://app.example/…",
        "status": 410,
        "reason": "its receiver answered 410 Gone",
        "since": 10,
        "ids": ["dlv_1"],
        "next": "relayd resume books",
    }


def _rejected(code: str = "invalid_json", reason: str = "no", seq: int = 1) -> RejectedRow:
    columns = SpoolRow(seq, b"evt", b"t", b"{", 1, None, None)
    return RejectedRow("spool market", columns, Rejection(code, reason))


def test_rejected_input_is_counted_for_each_row() -> None:
    told = after_rejection([(7, _rejected()), (8, _rejected("invalid_id", "x" * 1000))], 5)
    assert [(each.subject, each.count, each.ids, each.since) for each in told] == [
        ("spool market", 1, ("7",), 5),
        ("spool market", 1, ("8",), 5),
    ]
    assert told[0].details == {"code": "invalid_json", "reason": "no"}
    assert len(str(told[1].details["reason"])) == 300


@pytest.mark.parametrize(
    ("patterns", "wanted"),
    [
        (("*",), set()),
        (("order.*",), set()),
        (("relayd.*",), set(RELAYD_TYPES)),
        (
            ("*", "relayd.endpoint.*"),
            {"relayd.endpoint.failing", "relayd.endpoint.recovered", "relayd.endpoint.throttled"},
        ),
    ],
)
def test_only_what_somebody_asks_for_is_made(patterns: tuple[str, ...], wanted: set[str]) -> None:
    assert wanted_types([Selection(("user.created",)), Selection(patterns)]) == wanted


def test_what_is_told_has_the_shape_of_the_catalogues_samples() -> None:
    failing = Health(
        failures=3,
        failing_since=8.0,
        reported=True,
        last_failure="answered 503",
        held_until=3610.0,
    )
    reports = [
        *after_attempt(_record(FAILED, ()), URL, ["books"], before=Health(), after=failing),
        *after_attempt(_record(GONE), URL, ["books"], before=Health(), after=Health()),
        *after_change(URL, ["books"], 20, before=failing, after=Health()),
        *after_rejection([(1, _rejected())], 5.0),
        source_unavailable("spool market", "it is missing", 1.0, 5.0),
        source_recovered("spool market", 1.0, 5.0),
        reload_refused(Refused("configuration", ("no",), 1, 5.0), 5.0),
    ]
    told = [each.event(20.0) if isinstance(each, Counted) else each for each in reports]
    assert {each.type for each in told} == set(RELAYD_TYPES)
    for each in told:
        expected = sample(each.type)["object"]
        found = each.data["object"]
        assert isinstance(expected, dict)
        assert isinstance(found, dict)
        assert [*found] == [*expected]
        event = own_event(
            each.type,
            each.data,
            event_id="evt_relayd_1",
            created=each.created,
            defaults=EventDefaults("m", "v"),
        )
        assert event.type == each.type


def test_no_event_names_ten_thousand_subscriptions() -> None:
    names = [f"s{number}" for number in range(10_000)]
    assert named(names) == {"subscriptions": names[:20], "subscription_count": 10_000}
    assert named(names[:20]) == {"subscriptions": names[:20]}
