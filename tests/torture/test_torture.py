"""Faults at random moments under load: nothing is lost, and the harness would see it if it were."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from torture.configuration import HOPELESS_RETRIES_S, WANTED
from torture.harness import impossible_here, torture
from torture.plan import (
    INTERRUPTING,
    LONG_RETENTION_S,
    SHORT_RETENTION_S,
    Act,
    Fault,
    each_once,
    make_plan,
    with_operator,
)
from torture.recording import Produced, Request
from torture.violations import Report, violations

SEED = 20261124
STOPPING = (Act.MOVE, Act.CANCEL, Act.REPLAY)


@pytest.mark.timeout(300)
def test_random_faults_lose_nothing(tmp_path: Path) -> None:
    """Each fault once, while an operator reloads and gives commands."""
    plan = with_operator(each_once(SEED, without=impossible_here()))
    report = torture(tmp_path, plan)
    assert violations(report) == [], f"seed {SEED}\n{report.log[-4000:]}"
    # It was a real load, and the receivers really misbehaved.
    assert len(report.produced.committed) > 500
    for name in ("all", "unruly", "hopeless"):  # the others get little, on a slow machine
        assert any(each.status != 200 for each in report.requests[name]), name
    assert report.acts[Act.MOVE] > 0


@pytest.mark.timeout(300)
def test_an_operator_under_load_sends_nothing_twice(tmp_path: Path) -> None:
    """Without kills, nothing may be received twice but what its receiver broke off."""
    plan = make_plan(SEED + 1, 20, without=INTERRUPTING, acts=tuple(Act))
    report = torture(tmp_path, plan)
    assert violations(report) == [], f"seed {SEED + 1}\n{report.log[-4000:]}"
    assert report.interruptions == []
    # How many, the machine decides.
    assert report.acts.total() > 5


@pytest.mark.timeout(240)
def test_sigkill_at_random_moments_loses_nothing(tmp_path: Path) -> None:
    plan = make_plan(SEED, 20, without=set(Fault) - {Fault.KILL})
    report = torture(tmp_path, plan, failing=0.3)
    assert violations(report) == [], f"seed {SEED}\n{report.log[-4000:]}"
    assert report.kills == 20
    assert len(report.produced.committed) > 500
    # Some failed between two kills; most of the load is delivered at the end, when nothing fails.
    assert sum(each.status == 500 for each in report.requests["all"]) > report.kills


@pytest.mark.timeout(240)
@pytest.mark.parametrize("broken", ["marks", "answers", "deletes"])
def test_the_harness_finds_what_a_broken_relay_loses(tmp_path: Path, broken: str) -> None:
    window = tmp_path / "window"
    report = torture(
        tmp_path,
        make_plan(SEED, 1, without=set(Fault) - {Fault.KILL}),
        program=["-m", "torture.broken_relayd"],
        env={"RELAYD_BROKEN": broken, "RELAYD_WINDOW": str(window)},
        until_killed=window.exists,
    )
    found = violations(report)
    # That it lost something is all that there is to find.
    assert found
    assert all(each.startswith("lost: ") for each in found), found


@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("broken", "acts", "symptoms"),
    [
        ("stale", STOPPING, ("made again", "after they were cancelled", "after it was stopped")),
        ("twice", (Act.RESUBMIT,), ("resubmitted as one event, and made 2",)),
        ("limits", (Act.PAUSE, Act.RESUME), ("requests open at", "beyond the limit in force")),
    ],
)
def test_the_harness_finds_what_disobeys_the_operator(
    tmp_path: Path, broken: str, acts: tuple[Act, ...], symptoms: tuple[str, ...]
) -> None:
    found: list[str] = []
    for seed in range(SEED, SEED + 3):  # on a slow machine, few acts meet what they need
        (place := tmp_path / str(seed)).mkdir()
        report = torture(
            place,
            make_plan(seed, 12, without=set(Fault) - {Fault.RELOAD}, acts=acts),
            program=["-m", "torture.broken_relayd"],
            env={"RELAYD_BROKEN": broken},
        )
        found += violations(report)
        if any(symptom in each for symptom in symptoms for each in found):
            return
    pytest.fail(f"it found none of {symptoms}: {found}")


def test_a_seed_stands_for_its_plan() -> None:
    assert make_plan(7, 50) == make_plan(7, 50)
    assert make_plan(7, 50) != make_plan(8, 50)
    assert {step.fault for step in make_plan(7, 500).steps} == set(Fault)
    without = make_plan(7, 500, without=[Fault.FILL_DISK])
    assert {step.fault for step in without.steps} == set(Fault) - {Fault.FILL_DISK}
    assert each_once(7) != each_once(8)
    assert sorted(step.fault for step in each_once(7).steps) == sorted(Fault)


def test_a_seed_stands_for_what_the_operator_does() -> None:
    plans = [make_plan(seed, 5, acts=tuple(Act)) for seed in range(20)]
    assert plans[7] == make_plan(7, 5, acts=tuple(Act))
    assert plans[7].operations != plans[8].operations
    assert plans[7].steps == make_plan(7, 5).steps
    assert make_plan(7, 5).operations == ()
    kept = {plan.retention_s for plan in plans}
    assert kept == {SHORT_RETENTION_S, LONG_RETENTION_S}
    for plan in plans:
        acts = {each.act for each in plan.operations}
        assert set(Act) - acts == ({Act.ACTIVE} if plan.retention_s == SHORT_RETENTION_S else set())


def attempt(number: int, at: float, status: int = 500) -> Request:
    return Request(at, "evt_one_1_i", "dlv_tag_7", number, "hash", signature_ok=True, status=status)


def judged(attempts: list[Request], kills: Sequence[float] = ()) -> list[str]:
    """Judge a run of one event, for which the hopeless receiver saw these attempts."""
    taken = replace(attempt(1, 0.0), status=200, delivery_id="dlv_tag_8")
    elsewhere = {"all": [taken], "unruly": [], "limited": [], "ordered": []}
    produced = Produced(committed={"evt_one_1_i"})
    report = Report(make_plan(1, 0), produced, {**elsewhere, "hopeless": attempts})
    report.interruptions = list(kills)
    return violations(report)


ON_TIME = [attempt(number, sum(HOPELESS_RETRIES_S[: number - 1])) for number in range(1, 5)]


def test_what_a_schedule_allows_is_no_violation() -> None:
    assert judged(ON_TIME) == []
    again = [ON_TIME[0], *(replace(each, at=each.at + 2.0) for each in ON_TIME)]
    assert judged(again, kills=[1.0]) == [], "one that was cut off comes again"


def test_an_event_that_was_blamed_for_a_kill_is_found() -> None:
    report = Report(make_plan(1, 0), Produced(), {name: [] for name in WANTED})
    assert violations(report) == []
    report.log = '{"event": "attempt_failed", "failure": "quarantined"}'
    assert "put that down to an event" in violations(report)[0]


def test_attempts_beyond_a_schedule_are_found() -> None:
    assert any("made again" in each for each in judged([ON_TIME[0], *ON_TIME]))
    assert "where its schedule has 4" in judged([*ON_TIME, attempt(5, 9.0)])[0]
    assert "where its schedule has 4" in judged(ON_TIME[:3])[0]
    assert "came after 0.1" in judged([ON_TIME[0], attempt(2, 0.17), *ON_TIME[2:]])[0]
    early, late = replace(ON_TIME[1], at=0.7), replace(ON_TIME[2], at=0.3)
    assert any("out of order" in each for each in judged([ON_TIME[0], late, early, ON_TIME[3]]))
    assert judged([])[0].startswith("lost")
