"""SIGKILL at random moments under load: nothing is lost, and the harness would see it if it were."""

from pathlib import Path

import pytest
from kill_harness import torture, violations

SEED = 20261124


@pytest.mark.timeout(240)
def test_sigkill_at_random_moments_loses_nothing(tmp_path: Path) -> None:
    report = torture(tmp_path, seed=SEED, kills=20, program=["-m", "relayd"])
    assert violations(report) == [], f"seed {SEED}\n{report.log[-4000:]}"
    # It was a real load, and the receiver really failed.
    assert len(report.produced.committed) > 500
    assert sum(request.status == 500 for request in report.requests) > 100


@pytest.mark.timeout(240)
def test_the_harness_finds_what_a_broken_relay_loses(tmp_path: Path) -> None:
    report = torture(tmp_path, seed=SEED, kills=8, program=["-m", "broken_relayd"])
    assert any(each.startswith("lost") for each in violations(report))
