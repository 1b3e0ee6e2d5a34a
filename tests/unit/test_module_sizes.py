"""A module that grows past 300 lines has more than one job: part of it is a noun of its own."""

from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "relayd"
MOST_LINES = 300


def test_no_module_has_more_than_300_lines() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 100
    lines = {str(each.relative_to(PACKAGE)): len(each.read_text().splitlines()) for each in modules}
    over = {name: count for name, count in lines.items() if count > MOST_LINES}
    assert not over, "give what is a job of its own a module of its own"
