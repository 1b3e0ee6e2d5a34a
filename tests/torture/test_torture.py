"""Faults at random moments under load: nothing is lost, and the harness would see it if it were."""

from pathlib import Path

import pytest
from torture.harness import impossible_here, torture, violations
from torture.plan import Fault, make_plan

SEED = 20261124


@pytest.mark.timeout(240)
def test_random_faults_lose_nothing(tmp_path: Path) -> None:
    plan = make_plan(SEED, 18, without=impossible_here())
    report = torture(tmp_path, plan)
    assert violations(report) == [], f"seed {SEED}\n{report.log[-4000:]}"
    # It was a real load, and the receivers really misbehaved.
    assert report.kills >= 6
    assert len(report.produced.committed) > 1_000
    for name, requests in report.requests.items():
        assert any(each.status != 200 for each in requests), name


@pytest.mark.timeout(240)
@pytest.mark.parametrize("broken", ["marks", "answers", "deletes"])
def test_the_harness_finds_what_a_broken_relay_loses(tmp_path: Path, broken: str) -> None:
    plan = make_plan(SEED, 5, without=set(Fault) - {Fault.KILL})
    report = torture(
        tmp_path, plan, program=["-m", "torture.broken_relayd"], env={"RELAYD_BROKEN": broken}
    )
    assert any(each.startswith("lost") for each in violations(report))


def test_a_seed_stands_for_its_plan() -> None:
    assert make_plan(7, 50) == make_plan(7, 50)
    assert make_plan(7, 50) != make_plan(8, 50)
    assert {step.fault for step in make_plan(7, 500).steps} == set(Fault)
    without = make_plan(7, 500, without=[Fault.FILL_DISK])
    assert {step.fault for step in without.steps} == set(Fault) - {Fault.FILL_DISK}
