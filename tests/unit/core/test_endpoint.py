"""An endpoint's health: when it counts as failing, what comes back with it, and how fast."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.endpoint import FAILING_AFTER, Endpoint, Health, endpoint_name
from relayd.core.outcome import Failure, Outcome
from relayd.core.token_bucket import Rate

ENDPOINT = Endpoint("https://example.com/hook", Rate(100, 60.0), max_in_flight=8)
OK = Outcome(duration_s=0.1, status=200)
FAILED = Outcome(duration_s=0.1, failure=Failure.CONNECT, detail="refused")


def after(
    outcomes: list[Outcome],
    health: Health | None = None,
    *,
    begins_at: float = 1000.0,
    endpoint: Endpoint = ENDPOINT,
) -> Health:
    """Return the health after outcomes that came a second apart."""
    health = health or Health()
    for seconds, outcome in enumerate(outcomes):
        health = health.after(outcome, endpoint, begins_at + seconds)
    return health


FAILING = after([FAILED] * FAILING_AFTER)


def test_at_first_all_is_well() -> None:
    health = Health()
    assert not health.failing
    assert health.allowed_in_flight(ENDPOINT) == 8
    assert health.held_until == 0.0
    assert health.released_at is None


def test_a_success_changes_nothing_where_all_was_well() -> None:
    """The same object: nothing is to be written."""
    health = Health()
    assert health.after(OK, ENDPOINT, 1000.0) is health
    recovered = after([OK] * 5, FAILING)
    assert recovered.after(OK, ENDPOINT, 2000.0) is recovered


def test_a_few_failures_are_not_failing() -> None:
    health = after([FAILED] * (FAILING_AFTER - 1))
    assert not health.failing
    assert health.failures == FAILING_AFTER - 1
    assert health.failed_at == 1000.0
    assert health.last_failure == "refused"
    assert health.allowed_in_flight(ENDPOINT) == 8


def test_a_success_between_begins_the_row_anew() -> None:
    health = after([FAILED, FAILED, OK, FAILED, FAILED])
    assert not health.failing
    assert health.failures == 2
    assert health.failed_at == 1003.0
    assert after([FAILED, FAILED, OK]) == Health()


def test_failing_is_since_the_first_of_the_row_and_one_at_a_time() -> None:
    assert FAILING.failing
    assert FAILING.failing_since == 1000.0
    assert FAILING.allowed_in_flight(ENDPOINT) == 1
    longer = after([FAILED] * 10, FAILING, begins_at=2000.0)
    assert longer.failing_since == longer.failed_at == 1000.0
    assert longer.failures == FAILING_AFTER + 10
    assert longer.allowed_in_flight(ENDPOINT) == 1


def test_the_first_success_releases_what_was_put_off() -> None:
    health = FAILING.after(OK, ENDPOINT, 5000.0)
    assert not health.failing
    assert health.failures == 0
    assert health.failed_at is None
    assert health.last_failure == ""
    assert health.released_at == 5000.0


@pytest.mark.parametrize(
    ("max_in_flight", "allowed"),
    [(8, [1, 2, 4, 8, 8]), (6, [1, 2, 4, 6, 6]), (2, [1, 2, 2]), (1, [1, 1, 1])],
)
def test_the_ramp_doubles_up_to_the_limit(max_in_flight: int, allowed: list[int]) -> None:
    endpoint = replace(ENDPOINT, max_in_flight=max_in_flight)
    health = FAILING
    seen: list[int] = []
    for _ in allowed:
        health = health.after(OK, endpoint, 5000.0)
        seen.append(health.allowed_in_flight(endpoint))
    assert seen == allowed
    assert health.released_at == 5000.0


def test_a_lone_failure_on_the_ramp_neither_stops_nor_raises_it() -> None:
    ramped = after([OK, OK], FAILING)
    assert ramped.allowed_in_flight(ENDPOINT) == 2
    health = after([FAILED], ramped)
    assert health.allowed_in_flight(ENDPOINT) == 2
    assert health.released_at == ramped.released_at
    assert after([OK], health).allowed_in_flight(ENDPOINT) == 4


def test_failing_again_takes_the_release_back() -> None:
    health = after([OK, OK, OK, FAILED, FAILED, FAILED], FAILING)
    assert health.failing
    assert health.failing_since == 1003.0
    assert health.released_at is None
    assert health.allowed_in_flight(ENDPOINT) == 1
    assert after([OK], health, begins_at=9000.0).released_at == 9000.0


def test_a_limit_that_a_reload_lowered_holds_on_the_ramp() -> None:
    ramped = after([OK, OK, OK], FAILING)
    assert ramped.allowed_in_flight(ENDPOINT) == 4
    assert ramped.allowed_in_flight(replace(ENDPOINT, max_in_flight=2)) == 2


def test_retry_after_holds_the_endpoint() -> None:
    busy = replace(FAILED, status=429, failure=Failure.STATUS, retry_after_s=60.0)
    health = after([busy])
    assert health.held_until == 1060.0
    # Neither an earlier end nor another failure shortens it.
    assert after([replace(busy, retry_after_s=5.0)], health).held_until == 1060.0
    assert after([FAILED], health).held_until == 1060.0
    assert after([replace(busy, retry_after_s=600.0)], health).held_until == 1600.0


@pytest.mark.parametrize("failures", range(1, FAILING_AFTER + 2))
def test_a_success_does_not_end_a_hold(failures: int) -> None:
    """It may be the answer to an attempt that began before the Retry-After came."""
    busy = replace(FAILED, status=503, failure=Failure.STATUS, retry_after_s=600.0)
    held = after([busy] * failures)
    assert after([OK], held).held_until == held.held_until > 1600.0 - 1


@pytest.mark.parametrize("retry_after_s", [None, 0.0])
def test_without_a_wait_asked_for_there_is_no_hold(retry_after_s: float | None) -> None:
    assert after([replace(FAILED, retry_after_s=retry_after_s)]).held_until == 0.0


ASKED = set(Failure) - {Failure.POISON}

outcomes = st.lists(
    st.builds(
        Outcome,
        duration_s=st.just(0.1),
        failure=st.none() | st.none() | st.sampled_from(sorted(ASKED)),
        retry_after_s=st.none() | st.floats(0, 100),
    ),
    max_size=30,
)


@given(outcomes)
def test_what_was_never_sent_says_nothing_of_an_endpoint(outcomes: list[Outcome]) -> None:
    health = Health()
    for outcome in outcomes:
        health = health.after(outcome, ENDPOINT, 1000.0)
        poison = Outcome(duration_s=0.0, failure=Failure.POISON)
        assert health.after(poison, ENDPOINT, 1001.0) is health


@given(outcomes, st.integers(1, 20))
def test_whatever_happens(outcomes: list[Outcome], max_in_flight: int) -> None:
    endpoint = replace(ENDPOINT, max_in_flight=max_in_flight)
    health = Health()
    row = 0
    for seconds, outcome in enumerate(outcomes):
        now = 1000.0 + seconds
        before = health
        health = health.after(outcome, endpoint, now)
        row = 0 if outcome.succeeded else row + 1
        assert health.failures == row
        assert health.failing == (row >= FAILING_AFTER)
        assert (health.failed_at is None) == (row == 0)
        if row:
            assert health.failed_at == now - row + 1
        # A release comes exactly when failing ends, and an endpoint that is failing has none.
        if before.failing and not health.failing:
            assert health.released_at == now
        elif health.failing:
            assert health.released_at is None
        else:
            assert health.released_at == before.released_at
        assert health.held_until >= before.held_until
        # At least one attempt at a time, so that it can be seen to come back; never more than
        # the limit, and after each success at most twice as many as before.
        allowed = health.allowed_in_flight(endpoint)
        assert 1 <= allowed <= max_in_flight
        assert allowed <= 2 * before.allowed_in_flight(endpoint)
        if health.failing:
            assert allowed == 1


@given(outcomes, st.integers(1, 64))
def test_health_comes_back_in_full(outcomes: list[Outcome], max_in_flight: int) -> None:
    endpoint = replace(ENDPOINT, max_in_flight=max_in_flight)
    health = after(outcomes, endpoint=endpoint)
    recovered = after([OK] * 8, health, begins_at=5000.0, endpoint=endpoint)
    assert recovered.allowed_in_flight(endpoint) == max_in_flight
    assert replace(recovered, held_until=0.0, released_at=None) == Health()


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
