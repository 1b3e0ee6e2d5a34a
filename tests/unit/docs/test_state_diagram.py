"""docs/architecture.md has the states as relayd/core defines them; `make docs` writes them."""

import subprocess
import sys
from pathlib import Path

from relayd.core.delivery import TRANSITIONS
from relayd.core.hold import HOLD_TRANSITIONS

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "architecture.md"


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    script = ROOT / "docs" / "state_diagram.py"
    return subprocess.run(
        [sys.executable, script, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def test_the_page_is_up_to_date() -> None:
    done = run("--check")
    assert done.returncode == 0, f"run `make docs`:\n{done.stdout}{done.stderr}"


def test_the_diagram_has_each_transition() -> None:
    page = PAGE.read_text()
    for (origin, change), target in [*TRANSITIONS.items(), *HOLD_TRANSITIONS.items()]:
        arrow = f"    {origin or '[*]'} --> {target or '[*]'}: "
        assert any(
            line.startswith(arrow) and change in line.removeprefix(arrow).split(", ")
            for line in page.splitlines()
        ), (origin, change)


def test_a_page_that_differs_is_found_and_fixed(tmp_path: Path) -> None:
    stale = tmp_path / "architecture.md"
    stale.write_text(PAGE.read_text().replace("    cancelled --> delivered: succeed\n", ""))
    found = run("--check", stale)
    assert found.returncode == 1
    assert "+    cancelled --> delivered: succeed" in found.stdout
    assert run(stale).returncode == 0
    assert stale.read_text() == PAGE.read_text()


def test_a_page_without_its_marks_is_left_alone(tmp_path: Path) -> None:
    page = tmp_path / "architecture.md"
    page.write_text("# Another page\n")
    assert run(page).returncode == 1
    assert page.read_text() == "# Another page\n"
