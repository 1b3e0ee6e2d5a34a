"""An endpoint's health: when it is failing, when it has recovered, what holds it back, its ramp."""

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.endpoint import (
    FAILING_AFTER,
    LONG_HOLD_S,
    MAX_THROTTLED_S,
    ONE_AT_A_TIME_AFTER,
    RECENT,
    Endpoint,
    Health,
    endpoint_name,
)
from relayd.core.outcome import Failure, Outcome
from relayd.core.token_bucket import Rate

ENDPOINT = Endpoint("https://example.com/hook", Rate(100, 60.0), max_in_flight=8)
OK = Outcome(duration_s=0.1, status=200)
FAILED = Outcome(duration_s=0.1, failure=Failure.CONNECT, detail="refused")
BUSY = Outcome(duration_s=0.1, status=429, failure=Failure.STATUS, detail="answered 429")


def after(
    outcomes: list[Outcome],
    health: Health | None = None,
    *,
    begins_at: float = 1000.0,
    every_s: float = 1.0,
    endpoint: Endpoint = ENDPOINT,
) -> Health:
    """Return the health after outcomes that came one after the other."""
    health = health or Health()
    for index, outcome in enumerate(outcomes):
        health = health.after(outcome, endpoint, begins_at + index * every_s)
    return health


FAILING = after([FAILED] * 4, every_s=30.0)


def test_at_first_all_is_well() -> None:
    health = Health()
    assert not health.failing
    assert health.allowed_in_flight(ENDPOINT) == 8
    assert health.held_until == 0.0
    assert health.released_at is None


def test_a_success_changes_nothing_where_all_is_well() -> None:
    """The same object: nothing is to be written."""
    health = after([OK] * RECENT)
    assert health.recent == (0,) * RECENT
    assert health.after(OK, ENDPOINT, 2000.0) is health


# One at a time


@pytest.mark.parametrize("failures", range(1, ONE_AT_A_TIME_AFTER + 2))
def test_after_a_few_failures_in_a_row_one_at_a_time(failures: int) -> None:
    health = after([OK, *[FAILED] * failures])
    allowed = 1 if failures >= ONE_AT_A_TIME_AFTER else 8
    assert health.failures == failures
    assert health.allowed_in_flight(ENDPOINT) == allowed
    assert not health.failing  # not for a minute yet
    assert after([FAILED, OK] * 10).allowed_in_flight(ENDPOINT) == 8


@pytest.mark.parametrize(
    ("max_in_flight", "allowed"),
    [(8, [2, 4, 8, 8]), (6, [2, 4, 6, 6]), (2, [2, 2]), (1, [1, 1, 1])],
)
def test_each_success_doubles_it_up_to_the_limit(max_in_flight: int, allowed: list[int]) -> None:
    endpoint = replace(ENDPOINT, max_in_flight=max_in_flight)
    health = after([FAILED] * 3)
    seen: list[int] = []
    for _ in allowed:
        health = health.after(OK, endpoint, 5000.0)
        seen.append(health.allowed_in_flight(endpoint))
    assert seen == allowed


def test_a_lone_failure_on_the_ramp_neither_stops_nor_raises_it() -> None:
    ramped = after([OK, OK], after([FAILED] * 3).on_ramp())
    assert ramped.allowed_in_flight(ENDPOINT) == 4
    health = after([FAILED], ramped)
    assert health.allowed_in_flight(ENDPOINT) == 4
    assert after([OK], health).allowed_in_flight(ENDPOINT) == 8


def test_a_limit_that_a_reload_lowered_holds_on_the_ramp() -> None:
    ramped = after([OK, OK], after([FAILED] * 3))
    assert ramped.allowed_in_flight(ENDPOINT) == 4
    assert ramped.allowed_in_flight(replace(ENDPOINT, max_in_flight=2)) == 2


# Failing


def test_failing_needs_three_failures_over_a_minute() -> None:
    assert not after([FAILED] * 3, every_s=29.9).failing
    assert not after([FAILED] * 2, every_s=500.0).failing
    health = after([FAILED] * 3, every_s=30.0)
    assert health.failing
    assert health.failing_since == 1000.0
    assert health.last_failure == "refused"


def test_a_burst_of_timeouts_is_not_failing() -> None:
    health = after([FAILED] * 30, every_s=0.0)
    assert not health.failing
    assert after([FAILED], health, begins_at=1060.0).failing


def test_an_established_endpoint_fails_when_half_of_its_last_attempts_failed() -> None:
    health = after([OK] * 50)
    for index in range(9):
        health = health.after(FAILED, ENDPOINT, 2000.0 + 20.0 * index)
    assert not health.failing
    health = health.after(FAILED, ENDPOINT, 2180.0)
    assert health.failing
    assert health.failing_since == 2000.0
    assert (health.failed_of_recent, len(health.recent)) == (10, 20)


def test_one_event_that_is_always_refused_does_not_make_an_endpoint_failing() -> None:
    health = Health()
    for minute in range(1000):
        outcome = FAILED if minute % 3 == 2 else OK
        health = health.after(outcome, ENDPOINT, 1000.0 + 60.0 * minute)
        assert not health.failing


def test_a_spell_that_ended_counts_no_more() -> None:
    health = after([FAILED] * 15, after([OK] * 20), every_s=0.1)
    health = after([OK] * 17, health, begins_at=1030.0)
    assert health.failed_since == 1000.0
    health = after([OK], health, begins_at=1050.0)
    assert health.failed_since is None
    health = after([FAILED] * 10, health, begins_at=1061.0, every_s=0.1)
    assert not health.failing


@pytest.mark.parametrize("every_s", [0.05, 0.6, 7.0])
@pytest.mark.parametrize("seed", range(20))
def test_a_receiver_that_fails_half_at_random_is_failing_within_minutes(
    seed: int, every_s: float
) -> None:
    chance, health, now = random.Random(seed), after([OK] * RECENT), 1000.0
    while not health.failing:
        health = health.after(chance.choice([OK, FAILED]), ENDPOINT, now)
        now += every_s
    assert 60.0 <= now - 1000.0 < 900.0


@pytest.mark.parametrize("every_s", [0.05, 1.0, 10.0, 100.0])
def test_a_receiver_that_fails_every_second_time_is_failing_once(every_s: float) -> None:
    health, changes = Health(), []
    for index in range(5000):
        now = 1000.0 + index * every_s
        if health.recovers_at <= now:
            health = health.recovered(1, now)
            changes.append("recovered")
        before = health
        health = health.after(FAILED if index % 2 else OK, ENDPOINT, now)
        if health.failing and not before.failing:
            changes.append("failing")
    # With more than a minute between two attempts each success is followed by one without failure.
    if every_s < 60:
        assert changes == ["failing"]
    assert changes[:1] == ["failing"]


@pytest.mark.parametrize(
    "before",
    [
        [(0.0, FAILED), (1.0, OK), (2.0, OK)],
        [(0.0, FAILED), (1.0, OK)],
        [(0.0, FAILED), (1.0, FAILED), (1.0, FAILED), (120.0, OK), (121.0, OK), (121.0, OK)],
        [(0.0, FAILED), *((3600.0 * hour, OK) for hour in range(1, 10))],
    ],
)
def test_a_failure_of_yesterday_is_not_of_the_present_spell(
    before: list[tuple[float, Outcome]],
) -> None:
    """Ten failures in a second are not failing for a minute, whatever was before a success."""
    day, health = 86_400.0, Health()
    for moment, outcome in before:
        health = health.after(outcome, ENDPOINT, moment + 1000.0)
    for index in range(10):
        health = health.after(FAILED, ENDPOINT, day + 0.1 * index)
        assert not health.failing
    assert health.failed_since == day
    assert not after([FAILED], health, begins_at=day + 59.0).failing
    health = after([FAILED], health, begins_at=day + 60.0)
    assert health.failing_since == day


def test_lone_failures_on_three_occasions_are_failing_where_they_are_half() -> None:
    health = after([FAILED, OK, FAILED, OK, FAILED], every_s=3600.0)
    assert health.failing_since == 1000.0
    # Each occasion counts once: a burst is one of them.
    rare = [FAILED, *[OK] * 4]
    assert not after([*rare, *rare, *rare, FAILED], every_s=3600.0).failing
    burst = after([FAILED] * 15, after([*rare, *rare], every_s=3600.0), begins_at=90_000.0)
    assert not burst.failing


def test_a_false_beginning_that_was_noted_is_put_right_by_the_attempts() -> None:
    noted = Health(recent=(1, 0, 86_400), failed_since=1.0)
    health = after([FAILED] * 2, noted, begins_at=86_401.0)
    assert not health.failing
    assert health.failed_since == 86_400.0


def test_a_spell_longer_than_the_window_keeps_its_beginning() -> None:
    health = after([FAILED] * 590, every_s=0.1)
    assert not health.failing
    assert health.failed_since == 1000.0
    assert after([FAILED], health, begins_at=1060.0).failing_since == 1000.0


# Recovered


def test_it_has_recovered_a_minute_after_a_success_without_a_failure() -> None:
    assert FAILING.recovers_at == float("inf")
    health = after([OK, OK], FAILING, begins_at=5000.0)
    assert health.failing
    assert health.recovers_at == 5060.0
    assert after([OK] * 10, health, begins_at=5002.0).recovers_at == 5060.0
    failed = after([FAILED], health, begins_at=5059.0)
    assert failed.recovers_at == float("inf")
    assert after([OK], failed, begins_at=5100.0).recovers_at == 5160.0


def test_a_recovery_releases_what_waits_and_begins_the_ramp() -> None:
    health = after([OK] * 7, FAILING, begins_at=5000.0).recovered(9, 5060.0)
    assert not health.failing
    assert (health.release, health.released_at) == (9, 5060.0)
    assert health.allowed_in_flight(ENDPOINT) == 1
    assert health.failures == 0
    assert health.last_failure == ""
    # What counts from now on are the attempts since the last failure.
    assert health.recent == (0,) * 7


def test_failing_again_takes_the_release_back() -> None:
    recovered = after([OK], FAILING, begins_at=5000.0).recovered(9, 5060.0)
    health = after([FAILED] * 5, recovered, begins_at=5061.0)
    assert not health.failing
    assert health.release == 9
    health = after([FAILED], health, begins_at=5130.0)
    assert health.failing
    assert (health.release, health.released_at) == (0, None)
    assert health.allowed_in_flight(ENDPOINT) == 1


def test_it_is_reported_with_the_first_failure_of_a_markets_event() -> None:
    health = Health()
    for index in range(10):
        health = health.after(FAILED, ENDPOINT, 1000.0 + 30 * index, own_event=True)
    assert health.failing
    assert not health.reported
    assert health.after(FAILED, ENDPOINT, 2000.0).reported


# Holds


def test_retry_after_holds_the_endpoint() -> None:
    busy = replace(BUSY, retry_after_s=60.0)
    health = after([busy])
    assert health.held_until == 1060.0
    # Neither an earlier end nor another failure shortens it.
    assert after([replace(busy, retry_after_s=5.0)], health).held_until == 1060.0
    assert after([FAILED], health).held_until == 1060.0
    assert after([BUSY], health).held_until == 1060.0
    assert after([replace(busy, retry_after_s=600.0)], health).held_until == 1600.0


@pytest.mark.parametrize("failures", range(1, FAILING_AFTER + 2))
def test_a_success_does_not_end_a_hold(failures: int) -> None:
    """It may be the answer to an attempt that began before the hold."""
    for busy in (replace(BUSY, retry_after_s=600.0), BUSY):
        held = after([busy] * failures)
        assert after([OK], held, begins_at=1010.0).held_until == held.held_until > 1029.0


@pytest.mark.parametrize("retry_after_s", [None, 0.0])
def test_a_429_that_names_no_time_holds_twice_as_long_each_time(
    retry_after_s: float | None,
) -> None:
    busy = replace(BUSY, retry_after_s=retry_after_s)
    health, now, waits = Health(), 1000.0, []
    for _ in range(50):
        health = health.after(busy, ENDPOINT, now)
        waits.append(health.held_until - now)
        now = health.held_until + 1.0
    assert waits[:6] == [30.0, 60.0, 120.0, 240.0, 480.0, 600.0]
    assert set(waits[6:]) == {MAX_THROTTLED_S}
    assert not health.held_long(health.held_until - MAX_THROTTLED_S)
    # Anything else ends the row.
    for other in (OK, FAILED):
        again = health.after(other, ENDPOINT, now)
        assert again.after(busy, ENDPOINT, now).held_until == now + 30.0


def test_what_was_under_way_when_a_hold_began_counts_as_one() -> None:
    health = after([BUSY] * 8, every_s=0.1)
    assert health.held_until == 1030.0
    health = after([OK], health, begins_at=1005.0)
    assert after([BUSY], health, begins_at=1031.0).held_until == 1091.0


def test_other_failures_hold_nothing() -> None:
    assert after([FAILED, replace(FAILED, status=503)]).held_until == 0.0


def test_the_operator_lifts_a_hold_and_a_successful_test_does() -> None:
    held = after([BUSY, BUSY, replace(BUSY, retry_after_s=86_400.0)], FAILING, begins_at=5000.0)
    assert held.held_long(5003.0)
    assert not held.held_long(held.held_until - LONG_HOLD_S)
    assert (held.not_held().held_until, held.not_held().throttled) == (0.0, 0)
    tested = held.after_test(6000.0)
    assert tested.held_until == 0.0
    assert tested.failing
    assert tested.recovers_at == 6060.0
    assert Health().after_test(6000.0) == Health()


# Whatever happens

ASKED = set(Failure) - {Failure.POISON}

outcomes = st.lists(
    st.tuples(
        st.builds(
            Outcome,
            duration_s=st.just(0.1),
            status=st.sampled_from([None, 429, 503]),
            failure=st.none() | st.none() | st.sampled_from(sorted(ASKED)),
            retry_after_s=st.none() | st.floats(0, 100),
        ),
        st.sampled_from([0.0, 0.1, 1.0, 15.0, 40.0, 61.0, 5000.0]),
    ),
    max_size=60,
)


@given(outcomes)
def test_what_was_never_sent_says_nothing_of_an_endpoint(
    outcomes: list[tuple[Outcome, float]],
) -> None:
    health, now = Health(), 1000.0
    for outcome, wait_s in outcomes:
        now += wait_s
        health = health.after(outcome, ENDPOINT, now)
        poison = Outcome(duration_s=0.0, failure=Failure.POISON)
        assert health.after(poison, ENDPOINT, now) is health


@given(outcomes, st.integers(1, 20))
def test_whatever_happens(outcomes: list[tuple[Outcome, float]], max_in_flight: int) -> None:
    endpoint = replace(ENDPOINT, max_in_flight=max_in_flight)
    health, now, row, number = Health(), 1000.0, 0, 0
    last_change = {"failing": -1e9, "recovered": -1e9}
    last_failure = first_success = -1e9
    for outcome, wait_s in outcomes:
        now += wait_s
        if health.recovers_at <= now:
            number += 1
            assert now - last_failure >= 60.0
            assert now - first_success >= 60.0
            health = health.recovered(number, now)
            last_change["recovered"] = now
        before = health
        health = health.after(outcome, endpoint, now)
        if outcome.succeeded:
            if row:
                first_success = now
            row = 0
        else:
            row, last_failure = row + 1, now
        assert health.failures == row
        assert len(health.recent) <= RECENT
        if health.failing and not before.failing:
            assert not outcome.succeeded
            assert health.failed_of_recent >= FAILING_AFTER
            assert 2 * health.failed_of_recent >= len(health.recent)
            assert health.failing_since is not None
            assert now - health.failing_since >= 60.0
            # Each way once in a minute at most, whatever the receiver does.
            assert now - last_change["recovered"] >= 60.0 - 1.0  # times in whole seconds
            last_change["failing"] = now
            assert health.release == 0
        else:
            assert health.release == before.release
            assert health.failing == before.failing
        assert health.held_until >= before.held_until
        # At least one attempt at a time, so that it can be seen to come back; never more than
        # the limit, and after each success at most twice as many as before.
        allowed = health.allowed_in_flight(endpoint)
        assert 1 <= allowed <= max_in_flight
        assert allowed <= 2 * before.allowed_in_flight(endpoint)
        if row >= ONE_AT_A_TIME_AFTER:
            assert allowed == 1


@given(outcomes)
def test_failing_is_said_of_a_spell_that_lasts(outcomes: list[tuple[Outcome, float]]) -> None:
    """Since a failure of the present spell, a minute ago or more; or three spells are half of it."""
    health, now = Health(), 1000.0
    history: list[tuple[int, bool]] = []
    for number, (outcome, wait_s) in enumerate(outcomes):
        now += wait_s
        if health.recovers_at <= now:
            health = health.recovered(number + 1, now)
        before = health
        health = health.after(outcome, ENDPOINT, now)
        history.append((int(now), not outcome.succeeded))
        if before.failing or not health.failing:
            continue
        since = health.failing_since
        assert since is not None
        assert now - since >= 60.0
        assert (int(since), True) in history
        began = history.index((int(since), True))
        breaks = _quiet_minutes(history[began:])
        if breaks:
            assert breaks >= FAILING_AFTER - 1
            assert breaks + 1 >= sum(not failed for _, failed in history[began:])


def _quiet_minutes(history: list[tuple[int, bool]]) -> int:
    """Return how often a success and a minute without a failure lie between two failures."""
    failures = [index for index, (_, failed) in enumerate(history) if failed]
    return sum(
        history[later][0] - history[earlier][0] >= 60 and later > earlier + 1
        for earlier, later in itertools.pairwise(failures)
    )


@given(outcomes, st.integers(1, 64))
def test_health_comes_back_in_full(
    outcomes: list[tuple[Outcome, float]], max_in_flight: int
) -> None:
    endpoint = replace(ENDPOINT, max_in_flight=max_in_flight)
    health, now = Health(), 1000.0
    for outcome, wait_s in outcomes:
        now += wait_s
        health = health.after(outcome, endpoint, now)
    health = after([OK] * RECENT, health, begins_at=now + 10_000.0, endpoint=endpoint)
    if health.failing:
        health = health.recovered(1, health.recovers_at)
    health = after([OK] * RECENT, health, begins_at=now + 20_000.0, endpoint=endpoint)
    assert health.allowed_in_flight(endpoint) == max_in_flight
    assert replace(health, held_until=0.0, release=0, released_at=None) == Health(
        recent=(0,) * RECENT
    )


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("https://hooks.example/services/T0/B0/xyz", "https://hooks.example/…"),
        ("https://hooks.example/?token=xyz", "https://hooks.example/…"),
        ("http://[::1]:8080/xyz?xyz#xyz", "http://[::1]:8080/…"),
        ("https://xyz:xyz@hooks.example/xyz", "https://hooks.example/…"),
        ("https://hooks.example/", "https://hooks.example/"),
    ],
)
def test_an_endpoints_name_has_neither_path_nor_query(url: str, name: str) -> None:
    assert endpoint_name(url) == name
    assert "xyz" not in name
