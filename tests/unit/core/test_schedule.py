"""The retry schedule of one delivery, whatever its receiver answers, and whoever releases it."""

import math
from dataclasses import replace

from hypothesis import event, given, settings
from hypothesis import strategies as st

from relayd.core.delivery import ENDED, Delivery, State, decide
from relayd.core.endpoint import Endpoint, Health
from relayd.core.outcome import Failure, Outcome
from relayd.core.release import Extra, released_by
from relayd.core.retry import JITTER
from relayd.core.token_bucket import Rate

SCHEDULE = (120.0, 600.0, 2700.0, 14_400.0, 68_400.0)
ENDPOINT = Endpoint("https://app.example/", Rate(100, 60.0), 8)
START = 1_700_000_000.0

ANSWERS = st.one_of(
    st.just(Outcome(0.1, 500, Failure.STATUS, "500")),
    st.just(Outcome(0.1, None, Failure.CONNECT, "refused")),
    st.just(Outcome(0.1, 410, Failure.STATUS, "410 Gone")),
    st.just(Outcome(0.1, 429, Failure.STATUS, "429")),
    st.builds(
        lambda wait_s, status: Outcome(0.1, status, Failure.STATUS, "busy", b"", wait_s),
        st.floats(0.0, 86_400.0),
        st.sampled_from([429, 503]),
    ),
)


@settings(deadline=None, max_examples=100)
@given(
    answers=st.lists(ANSWERS, min_size=1, max_size=40),
    # What the endpoint's other deliveries come to between two attempts of this one.
    others=st.lists(st.booleans(), max_size=60),
    operator_releases=st.sets(st.integers(0, 40)),
    jitters=st.lists(st.floats(-1, 1), min_size=1, max_size=6),
    step_s=st.sampled_from([1.0, 20.0, 70.0, 1000.0]),
)
def test_no_delivery_is_exhausted_before_its_schedules_last_time(
    answers: list[Outcome],
    others: list[bool],
    operator_releases: set[int],
    jitters: list[float],
    step_s: float,
) -> None:
    """A delivery that always fails, at an endpoint of which others succeed at random."""
    delivery = Delivery(1, "d", "books", "evt_1", "a.b", State.PENDING, 0, 0, START, b"{}")
    health, now, last_release, operator = Health(), START, 0, 0
    release_seen, recovery_used = 0, False
    extras: dict[tuple[int, Extra], int] = {}
    releases = 0
    attempt = 0
    other = iter(others * 30)
    earliest = START + sum(SCHEDULE) * (1 - JITTER) - 0.001  # floats
    for round_number in range(3_000):
        if health.recovers_at <= now:
            last_release += 1
            health = health.recovered(last_release, now)
        if round_number in operator_releases:
            last_release += 1
            operator = last_release
            releases += 1
            health = health.not_held()
        extra = None
        if delivery.state is State.RETRYING and delivery.due_at > now:
            extra = released_by(
                release_seen,
                recovery_used=recovery_used,
                recovery=health.release,
                operator=operator,
            )
        if health.held_until <= now and (delivery.due_at <= now or extra is not None):
            outcome = answers[attempt % len(answers)]
            record = decide(
                replace(delivery, extra=extra),
                outcome,
                SCHEDULE,
                started_at=now,
                now=now,
                jitter=jitters[attempt % len(jitters)],
            )
            attempt += 1
            health = health.after(outcome, ENDPOINT, now)
            release_seen = last_release
            if extra is not None:
                key = (delivery.step, extra)
                extras[key] = extras.get(key, 0) + 1
                assert (record.step, record.due_at) == (delivery.step, delivery.due_at)
                recovery_used = recovery_used or extra is Extra.RECOVERY
            else:
                recovery_used = False
            if record.state in ENDED:
                assert record.state is State.EXHAUSTED
                assert now >= earliest
                event("exhausted")
                break
            if outcome.gone:
                operator = last_release = last_release + 1  # the operator resumes it
            assert record.due_at is not None
            delivery = replace(
                delivery,
                state=record.state,
                step=record.step,
                attempts=delivery.attempts + 1,
                due_at=record.due_at,
            )
        if (succeeds := next(other, None)) is not None and health.held_until <= now:
            outcome = Outcome(0.1, 200) if succeeds else Outcome(0.1, 503, Failure.STATUS, "503")
            health = health.after(outcome, ENDPOINT, now)
            now += step_s
        else:
            coming = [delivery.due_at, health.recovers_at, health.held_until]
            now = min([each for each in coming if now < each < math.inf], default=now + step_s)
    by_recovery = [count for (_, extra), count in extras.items() if extra is Extra.RECOVERY]
    assert max(by_recovery, default=0) <= 1
    gone = sum(outcome.gone for outcome in answers)
    if not gone:
        by_operator = [count for (_, extra), count in extras.items() if extra is Extra.OPERATOR]
        assert sum(by_operator) <= releases
    event(f"extra attempts after a recovery: {len(by_recovery)}")
