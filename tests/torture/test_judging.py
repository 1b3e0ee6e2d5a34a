"""What the operator did is judged exactly: what is allowed is none, and each breach is found."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from torture.configuration import FIRST, PLACES, RATES
from torture.observation import Observed
from torture.operated import violations_of_operations
from torture.recording import Request
from torture.repeats import CUT_OFF, violations_of_repeats
from torture.timeline import Cancellation, Timeline
from torture.violations import violations_of_order


def request(
    seq: int, at: float, number: int = 1, status: int = 200, *, name: str = "m0"
) -> Request:
    delivery_id = f"dlv_tag_{seq}"
    return Request(
        at, f"evt_{seq}_p", delivery_id, number, "hash", True, status, name, ended=at + 0.01
    )


def repeats(
    requests: Sequence[Request],
    *,
    interruptions: Sequence[float] = (),
    failed: Sequence[tuple[int, int, int | None]] = (),
) -> list[str]:
    observed = Observed(failed={(seq, number): (status, "any") for seq, number, status in failed})
    return [*violations_of_repeats({"p0": requests}, observed, interruptions)]


def operated(
    requests: Sequence[Request],
    timeline: Timeline,
    *,
    place: str = "p0",
    interruptions: Sequence[float] = (),
) -> list[str]:
    return [*violations_of_operations({place: requests}, timeline, interruptions)]


def settled(timeline: Timeline, at: float, **changes: object) -> None:
    layout = replace(timeline.layouts.changes[-1].value, **changes)  # type: ignore[arg-type]
    timeline.layouts.begin(layout, at).settled = at + 0.1


def test_attempts_that_fail_and_succeed_are_no_violation() -> None:
    found = repeats([request(1, 0.0, 1, 500), request(1, 1.0, 2)], failed=[(1, 1, 500)])
    assert found == []


def test_what_comes_again_needs_a_reason() -> None:
    twice = [request(1, 5.0), request(1, 6.0)]
    assert "made again after 1.000 s" in repeats(twice)[0]
    assert repeats(twice, interruptions=[5.5]) == []
    assert "made again" in repeats(twice, interruptions=[6.5])[0]
    assert "made again" in repeats(twice, interruptions=[3.0])[0]
    # Its connection was closed without a byte: it is sent once more on a new one.
    assert repeats([replace(twice[0], status=0, closed=True), twice[1]]) == []


def test_an_interruption_cuts_off_what_was_in_flight_and_no_more() -> None:
    cut_off = [each for seq in range(CUT_OFF) for each in (request(seq, 5.0), request(seq, 6.0))]
    assert repeats(cut_off, interruptions=[5.5]) == []
    cut_off += [request(CUT_OFF, 5.0), request(CUT_OFF, 6.0)]
    assert "where at most" in repeats(cut_off, interruptions=[5.5])[0]


def test_what_was_delivered_is_sent_again_only_where_its_answer_was_lost() -> None:
    again = [request(1, 5.0), request(1, 8.0, 2)]
    assert "sent again after attempt 1 was answered 200" in repeats(again)[0]
    assert repeats(again, failed=[(1, 1, None)]) == []


def test_a_number_that_never_came_was_recorded_as_a_failure() -> None:
    assert "attempt 1 never came" in repeats([request(1, 5.0, 2)])[0]
    assert repeats([request(1, 5.0, 2)], failed=[(1, 1, None)]) == []
    # An answer that nobody gave was somebody else's.
    assert "attempt 1 never came" in repeats([request(1, 5.0, 2)], failed=[(1, 1, 503)])[0]


def test_an_answer_is_recorded_as_it_was() -> None:
    requests = [request(1, 5.0, 1, 500), request(1, 6.0, 2)]
    assert "answered 500, and recorded as 404" in repeats(requests, failed=[(1, 1, 404)])[0]


@pytest.mark.parametrize("change", ["body_hash", "delivery_id", "subscription"])
def test_attempts_of_a_delivery_are_the_same(change: str) -> None:
    other = {"body_hash": "other", "delivery_id": "dlv_other_1", "subscription": "m1"}[change]
    requests = [request(1, 5.0, 1, 500), replace(request(1, 6.0, 2), **{change: other})]  # type: ignore[arg-type]
    assert "differ" in repeats(requests, failed=[(1, 1, 500)])[0]


def test_what_was_paused_gets_what_was_in_flight() -> None:
    timeline = Timeline()
    timeline.paused["m0"].begin(value=True, at=10.0).settled = 10.2
    allowed = [request(1, 9.0), request(2, 10.1), request(3, 10.3)]
    assert operated(allowed, timeline) == []
    assert "after it was stopped" in operated([*allowed, request(4, 14.0)], timeline)[0]
    many = [request(seq, 10.3 + seq / 10_000) for seq in range(17)]
    assert "16 in flight" in " ".join(operated(many, timeline))
    timeline.paused["m0"].begin(value=False, at=13.0).settled = 13.1
    assert operated([*allowed, request(4, 14.0)], timeline) == []


def test_what_was_moved_is_sent_to_its_new_place() -> None:
    timeline = Timeline()
    settled(timeline, 10.0, url={**FIRST.url, "m0": "p1"})
    assert operated([request(1, 9.0), request(2, 10.05)], timeline) == []
    assert "m0 got 1 at p0" in operated([request(1, 14.0)], timeline)[0]
    assert operated([request(1, 14.0)], timeline, place="p1") == []
    assert "m0 got 1 at p1" in operated([request(1, 9.0)], timeline, place="p1")[0]


def test_what_is_inactive_gets_nothing() -> None:
    timeline = Timeline()
    settled(timeline, 10.0, active={**FIRST.active, "m0": False})
    assert "after it was stopped" in operated([request(1, 14.0)], timeline)[0]
    settled(timeline, 13.0, active=FIRST.active)
    assert operated([request(1, 14.0)], timeline) == []


def cancelled(in_flight: int, seqs: Sequence[int] = (1, 2, 3)) -> Timeline:
    timeline = Timeline()
    every = frozenset(seqs)
    timeline.cancellations.append(Cancellation(10.0, every, in_flight, every, "m0"))
    return timeline


def test_what_was_cancelled_is_sent_where_it_was_in_flight() -> None:
    late = [request(1, 10.1), request(2, 10.1)]
    assert operated(late, cancelled(2)) == []
    assert "2 of m0 sent after they were cancelled" in operated(late, cancelled(1))[0]
    # One of those in flight was at its receiver, and so was none of these.
    waiting = replace(request(3, 9.9), ended=10.5)
    assert "sent after they were cancelled" in operated([*late, waiting], cancelled(2))[0]
    # Given up at relayd, while its receiver is still busy with it: nothing of it is in flight.
    assert operated([waiting], cancelled(0)) == []
    replayed = cancelled(0)
    replayed.replayed[1].append(10.05)
    replayed.replayed[2].append(10.05)
    assert operated(late, replayed) == []
    replayed.replayed[2] = [10.2]
    assert "1 of m0 sent" in operated(late, replayed)[0]


def test_limits_hold_from_their_reload_on() -> None:
    def at_rate(per_s: float, begin: float, end: float) -> list[Request]:
        count = int((end - begin) * per_s)
        return [request(seq, begin + seq / per_s) for seq in range(count)]

    timeline = Timeline()  # 100 a second
    slow = RATES[-1]
    settled(timeline, 100.0, rate=dict.fromkeys(PLACES, slow))
    before, after = at_rate(90, 90.0, 100.0), at_rate(slow.refill_per_s, 100.2, 130.0)
    assert operated(before, timeline) == []
    assert operated([*before, *after], timeline) == []
    assert "too fast" in operated(at_rate(200, 90.0, 100.0), timeline)[0]
    assert "too fast" in operated(at_rate(20, 100.2, 120.0), timeline)[0]
    # A reload to and fro grants nothing.
    for moment in range(110, 120):
        settled(timeline, float(moment), rate=dict.fromkeys(PLACES, slow))
    assert "too fast" in operated(at_rate(20, 100.2, 120.0), timeline)[0]


def test_attempts_in_flight_are_bounded_as_configured_then() -> None:
    timeline = Timeline()
    settled(timeline, 100.0, in_flight=dict.fromkeys(PLACES, 2))

    def together(count: int, at: float) -> list[Request]:
        return [replace(request(seq, at), ended=at + 0.5) for seq in range(count)]

    assert operated(together(8, 50.0), timeline) == []
    assert "9 requests open at p0, where 8 may be" in operated(together(9, 50.0), timeline)[0]
    assert operated(together(8, 101.0), timeline) == [], "some began before"
    assert "where 2 may be" in operated(together(3, 110.0), timeline)[0]
    # A killed process's requests are open still, and count no more.
    both = [*together(8, 50.0), *(replace(each, at=50.2) for each in together(8, 50.2))]
    assert "requests open" in operated(both, timeline)[0]
    assert operated(both, timeline, interruptions=[50.1]) == []


def test_samples_are_sent_as_often_as_they_were_asked_for() -> None:
    timeline = Timeline()
    sample = replace(request(1, 5.0), delivery_id="dlv_test_1")
    assert "samples sent" in operated([sample], timeline)[0]
    timeline.tests["m0"] += 1
    assert operated([sample], timeline) == []


def in_lane(sequence: int, at: float, lane: str = "lane_1", number: int = 1) -> Request:
    return replace(request(sequence, at, number), sequence=sequence, lane=lane)


def test_what_is_in_order_is_no_violation() -> None:
    requests = [
        in_lane(1, 0.0),
        in_lane(1, 1.0, number=2),
        in_lane(9, 2.0),
        in_lane(2, 3.0, "lane_2"),
    ]
    assert [*violations_of_order(requests, Observed())] == []


def test_an_older_event_of_a_lane_after_a_newer_one_is_found() -> None:
    requests = [in_lane(2, 0.0), in_lane(1, 1.0), in_lane(3, 2.0)]
    [found] = violations_of_order(requests, Observed())
    assert found == "out of its order: evt_1_p (attempt 1) after evt_2_p"
    assert [*violations_of_order(requests, Observed(given_up={("evt_1_p", "ordered")}))] == []
    [unnumbered] = violations_of_order([in_lane(0, 0.0)], Observed())
    assert "has no number" in unnumbered
