"""Every state with every change, and what each outcome makes of a delivery."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relayd.core.delivery import (
    ENDED,
    TRANSITIONS,
    WAITING,
    AttemptRecord,
    Change,
    Delivery,
    State,
    decide,
    delivery_id,
    delivery_seq,
    origins,
    shown_state,
)
from relayd.core.hold import Hold
from relayd.core.outcome import Failure, Outcome
from relayd.core.release import Extra
from relayd.core.retry import JITTER

SCHEDULE = (120.0, 600.0, 2700.0, 14_400.0, 68_400.0)
NOW = 1_700_000_000.0
OK = Outcome(duration_s=0.1, status=200)
REFUSED = Outcome(duration_s=0.1, status=500, failure=Failure.STATUS, detail="500")
GONE = Outcome(duration_s=0.1, status=410, failure=Failure.STATUS, detail="410 Gone")

DELIVERY = Delivery(
    seq=7,
    id="dlv_ab12_7",
    subscription="bookkeeping",
    event_id="evt_1",
    event_type="order.created",
    state=State.PENDING,
    attempts=0,
    step=0,
    due_at=NOW - 1.0,
    body=b'{"id":"evt_1"}',
)


def after(
    outcome: Outcome,
    delivery: Delivery = DELIVERY,
    *,
    schedule: tuple[float, ...] = SCHEDULE,
    jitter: float = 0.0,
) -> AttemptRecord:
    return decide(delivery, outcome, schedule, started_at=NOW - 1.0, now=NOW, jitter=jitter)


# States and changes

EXPECTED = {
    # One that was cancelled may have been under way.
    Change.SUCCEED: (WAITING | {State.CANCELLED}, State.DELIVERED),
    Change.RETRY: (WAITING, State.RETRYING),
    Change.EXHAUST: (WAITING, State.EXHAUSTED),
    Change.CANCEL: (WAITING, State.CANCELLED),
    Change.GIVE_UP: ({State.EXHAUSTED}, State.CANCELLED),
    Change.REPLAY: ({State.EXHAUSTED, State.CANCELLED}, State.PENDING),
    Change.RESEND: ({State.DELIVERED}, State.PENDING),
}


@pytest.mark.parametrize("change", Change)
@pytest.mark.parametrize("state", State)
def test_a_change_leads_from_its_states_to_one_and_from_no_other(
    state: State, change: Change
) -> None:
    origins, destination = EXPECTED[change]
    if state in origins:
        assert TRANSITIONS[state, change] is destination
    else:
        assert (state, change) not in TRANSITIONS


def test_the_table_cannot_be_altered() -> None:
    with pytest.raises(TypeError):
        TRANSITIONS[State.DELIVERED, Change.REPLAY] = State.PENDING  # type: ignore[index] # must fail


def test_states_wait_or_have_ended_or_are_only_shown() -> None:
    assert WAITING | ENDED | {State.HELD} == set(State)
    assert not WAITING & ENDED
    assert State.HELD not in TRANSITIONS.values()


def test_every_state_that_is_stored_can_be_reached_from_the_first() -> None:
    reached = {State.PENDING}
    for _ in State:
        reached |= {to for (state, _), to in TRANSITIONS.items() if state in reached}
    assert reached == WAITING | ENDED


@pytest.mark.parametrize("hold", [None, *Hold])
@pytest.mark.parametrize("state", sorted(WAITING | ENDED))
def test_only_what_waits_is_held(state: State, hold: Hold | None) -> None:
    expected = State.HELD if hold is not None and state in WAITING else state
    assert shown_state(state, hold) is expected


# What an outcome makes of a delivery


@pytest.mark.parametrize("state", sorted(WAITING))
@pytest.mark.parametrize("step", range(6))
def test_a_success_ends_it(state: State, step: int) -> None:
    record = after(OK, replace(DELIVERY, state=state, step=step))
    assert record.state is State.DELIVERED
    assert record.due_at is None
    assert record.step == step


@pytest.mark.parametrize("state", sorted(WAITING))
@pytest.mark.parametrize("failure", sorted(set(Failure) - {Failure.POISON}))
def test_a_failure_is_retried_after_its_steps_wait(state: State, failure: Failure) -> None:
    outcome = Outcome(duration_s=0.1, failure=failure)
    for step, wait_s in enumerate(SCHEDULE):
        record = after(outcome, replace(DELIVERY, state=state, step=step))
        assert record.state is State.RETRYING
        assert record.step == step + 1
        assert record.due_at == NOW + wait_s


@pytest.mark.parametrize("state", sorted(WAITING))
@pytest.mark.parametrize("step", [5, 6, 100])
def test_without_a_step_left_it_is_exhausted(state: State, step: int) -> None:
    record = after(REFUSED, replace(DELIVERY, state=state, step=step))
    assert (record.state, record.step, record.due_at) == (State.EXHAUSTED, step, None)


@pytest.mark.parametrize("state", sorted(WAITING))
def test_what_relayd_died_at_is_exhausted_at_once(state: State) -> None:
    outcome = Outcome(duration_s=0.0, failure=Failure.POISON)
    record = after(outcome, replace(DELIVERY, state=state, step=0))
    assert (record.state, record.due_at) == (State.EXHAUSTED, None)


def test_a_schedule_of_none_gives_one_attempt() -> None:
    assert after(REFUSED, schedule=()).state is State.EXHAUSTED


def test_a_retry_after_cannot_keep_an_exhausted_delivery_alive() -> None:
    record = after(replace(REFUSED, retry_after_s=60.0), schedule=())
    assert (record.state, record.due_at) == (State.EXHAUSTED, None)


def test_a_retry_after_is_the_endpoints_and_leaves_the_schedule() -> None:
    """It holds the endpoint back, this delivery too, and can be lifted."""
    record = after(replace(REFUSED, status=503, retry_after_s=86_400.0))
    assert (record.due_at, record.step) == (NOW + 120.0, 1)


@pytest.mark.parametrize("extra", Extra)
@pytest.mark.parametrize("outcome", [REFUSED, GONE, replace(REFUSED, status=429)])
@pytest.mark.parametrize("step", range(1, 6))
def test_an_extra_attempt_that_fails_leaves_the_schedule_as_it_was(
    extra: Extra, outcome: Outcome, step: int
) -> None:
    delivery = replace(DELIVERY, state=State.RETRYING, step=step, due_at=NOW + 900.0, extra=extra)
    record = after(outcome, delivery)
    assert (record.state, record.step, record.due_at) == (State.RETRYING, step, NOW + 900.0)
    assert not record.rescheduled


@pytest.mark.parametrize("extra", Extra)
def test_an_extra_attempt_that_succeeds_delivers(extra: Extra) -> None:
    delivery = replace(DELIVERY, state=State.RETRYING, step=2, due_at=NOW + 900.0, extra=extra)
    assert after(OK, delivery).state is State.DELIVERED


@pytest.mark.parametrize("state", sorted(WAITING))
@pytest.mark.parametrize("step", [0, 3, 5])
def test_gone_ends_nothing_and_burns_no_retry(state: State, step: int) -> None:
    record = after(GONE, replace(DELIVERY, state=state, step=step))
    assert record.state is State.RETRYING
    assert record.step == step
    # Due as soon as its subscription is resumed.
    assert record.due_at == NOW


@pytest.mark.parametrize("state", sorted(ENDED))
def test_an_attempt_of_a_delivery_that_has_ended_is_a_defect(state: State) -> None:
    for outcome in (REFUSED, GONE):
        with pytest.raises(KeyError):
            after(outcome, replace(DELIVERY, state=state))


@pytest.mark.parametrize("state", sorted(ENDED - {State.CANCELLED}))
def test_what_has_ended_by_itself_cannot_succeed_again(state: State) -> None:
    with pytest.raises(KeyError):
        after(OK, replace(DELIVERY, state=state))


@pytest.mark.parametrize("change", Change)
def test_origins_are_those_of_the_table(change: Change) -> None:
    assert origins(change) == EXPECTED[change][0]


outcomes = st.builds(
    Outcome,
    duration_s=st.floats(0, 10),
    status=st.none() | st.integers(200, 599),
    failure=st.none() | st.sampled_from(Failure),
    retry_after_s=st.none() | st.floats(0, 86_400),
)


@given(outcomes, st.sampled_from(sorted(WAITING)), st.integers(0, 7), st.floats(-1, 1))
def test_whatever_happens(outcome: Outcome, state: State, step: int, jitter: float) -> None:
    delivery = replace(DELIVERY, state=state, step=step)
    record = after(outcome, delivery, jitter=jitter)
    # What waits has a time, and what has ended has none.
    assert (record.due_at is None) == (record.state in ENDED)
    assert (record.state in WAITING) == (record.state is State.RETRYING)
    assert (record.state is State.DELIVERED) == outcome.succeeded
    assert record.step in (step, step + 1)
    if record.step == step + 1:
        assert record.due_at is not None
        assert record.due_at >= NOW + SCHEDULE[step] * (1 - JITTER) - 1e-3
        assert record.due_at <= NOW + SCHEDULE[step] * (1 + JITTER) + 1e-3
    assert (record.delivery, record.outcome) == (delivery, outcome)
    assert (record.started_at, record.decided_at) == (NOW - 1.0, NOW)


@given(
    st.lists(
        outcomes.filter(lambda outcome: not (outcome.succeeded or outcome.gone or outcome.final))
    )
)
def test_failures_alone_end_after_six_attempts(failures: list[Outcome]) -> None:
    delivery = DELIVERY
    made = 0
    for outcome in [*failures, *[REFUSED] * 6]:
        record = after(outcome, delivery)
        made += 1
        if record.state in ENDED:
            break
        delivery = replace(delivery, state=record.state, step=record.step)
    assert made == 6
    assert record.state is State.EXHAUSTED


def test_a_body_is_in_no_repr() -> None:
    delivery = replace(DELIVERY, body=b"PAYLOAD")
    assert "PAYLOAD" not in repr(delivery)
    assert "PAYLOAD" not in repr(after(REFUSED, delivery))


# Ids


@given(st.text(alphabet="abcdef0123456789", min_size=1, max_size=8), st.integers(1, 10**18 - 1))
def test_an_id_tells_its_number(tag: str, seq: int) -> None:
    assert delivery_seq(delivery_id(tag, seq), tag) == seq
    assert delivery_seq(delivery_id(tag, seq), f"{tag}x") is None


@pytest.mark.parametrize(
    "identifier",
    [
        "",
        "7",
        "dlv_ab12_",
        "dlv_ab12",
        "dlv_ab12_x",
        "dlv_ab12_-7",
        "dlv_ab12_7_7",
        "dlv_ab12_7 ",
        "dlv_ab12_\u0667",
        "dlv_cd34_7",
        "evt_ab12_7",
        # More than SQLite's integers hold, and its first digits are another delivery's.
        "dlv_ab12_9223372036854775808",
        "dlv_ab12_12345678901234567890",
        "dlv_ab12_" + "1" * 5000,
    ],
)
def test_what_is_no_id_of_this_queue(identifier: str) -> None:
    assert delivery_seq(identifier, "ab12") is None
