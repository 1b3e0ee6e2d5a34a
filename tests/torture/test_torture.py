"""Faults at random moments under load: nothing is lost, and the harness would see it if it were."""

from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from torture.configuration import HOPELESS_RETRIES_S, WANTED
from torture.harness import impossible_here, torture
from torture.plan import Fault, each_once, make_plan
from torture.recording import Produced, Request
from torture.violations import Report, violations

SEED = 20261124


@pytest.mark.timeout(240)
def test_random_faults_lose_nothing(tmp_path: Path) -> None:
    plan = each_once(SEED, without=impossible_here())
    report = torture(tmp_path, plan)
    assert violations(report) == [], f"seed {SEED}\n{report.log[-4000:]}"
    # It was a real load, and the receivers really misbehaved.
    assert len(report.produced.committed) > 500
    for name, requests in report.requests.items():
        assert any(each.status != 200 for each in requests), name


@pytest.mark.timeout(240)
def test_sigkill_at_random_moments_loses_nothing(tmp_path: Path) -> None:
    plan = make_plan(SEED, 20, without=set(Fault) - {Fault.KILL})
    report = torture(tmp_path, plan, failing=0.3)
    assert violations(report) == [], f"seed {SEED}\n{report.log[-4000:]}"
    assert report.kills == 20
    assert len(report.produced.committed) > 500
    assert sum(each.status == 500 for each in report.requests["all"]) > 100


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


def test_a_seed_stands_for_its_plan() -> None:
    assert make_plan(7, 50) == make_plan(7, 50)
    assert make_plan(7, 50) != make_plan(8, 50)
    assert {step.fault for step in make_plan(7, 500).steps} == set(Fault)
    without = make_plan(7, 500, without=[Fault.FILL_DISK])
    assert {step.fault for step in without.steps} == set(Fault) - {Fault.FILL_DISK}
    assert each_once(7) != each_once(8)
    assert sorted(step.fault for step in each_once(7).steps) == sorted(Fault)


def attempt(number: int, at: float, status: int = 500) -> Request:
    return Request(at, "evt_one_1_i", "dlv_1", number, "hash", signature_ok=True, status=status)


def judged(attempts: list[Request], kills: int = 0) -> list[str]:
    """Judge a run of one event, for which the hopeless receiver saw these attempts."""
    elsewhere = {"all": [replace(attempt(1, 0.0), status=200)], "unruly": [], "limited": []}
    produced = Produced(committed={"evt_one_1_i"})
    report = Report(make_plan(1, 0), produced, {**elsewhere, "hopeless": attempts})
    report.faults = Counter({Fault.KILL: kills})
    return violations(report)


ON_TIME = [attempt(number, sum(HOPELESS_RETRIES_S[: number - 1])) for number in range(1, 5)]


def test_what_a_schedule_allows_is_no_violation() -> None:
    assert judged(ON_TIME) == []
    assert judged([ON_TIME[0], *ON_TIME], kills=1) == [], "one that was cut off comes again"


def test_an_event_that_was_blamed_for_a_kill_is_found() -> None:
    report = Report(make_plan(1, 0), Produced(), {name: [] for name in WANTED})
    assert violations(report) == []
    report.log = '{"event": "attempt_failed", "failure": "quarantined"}'
    assert "put that down to an event" in violations(report)[0]


def test_attempts_beyond_a_schedule_are_found() -> None:
    assert "attempts made again" in judged([ON_TIME[0], *ON_TIME])[0]
    assert "where its schedule has 4" in judged([*ON_TIME, attempt(5, 9.0)])[0]
    assert "where its schedule has 4" in judged(ON_TIME[:3])[0]
    assert "came after 0.1" in judged([ON_TIME[0], attempt(2, 0.17), *ON_TIME[2:]])[0]
    [out_of_order, _] = judged([ON_TIME[0], ON_TIME[2], ON_TIME[1], ON_TIME[3]])
    assert "out of order" in out_of_order
    assert judged([])[0].startswith("lost")
