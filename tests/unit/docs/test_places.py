"""What the pages point to is there: links, headings, and the code's files."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
LINK = re.compile(r"\]\(([^)#\s]*)(?:#([^)\s]+))?\)")
FILE = re.compile(r"`((?:[a-z_]+/)+[a-z_]+\.py)`")

PENDING: set[str] = set()
"""Files that come with the rearrangement. Empty this list when it is done."""


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def anchors(page: Path) -> set[str]:
    """Return the anchors that a forge makes of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", each.lower()).replace(" ", "-") for each in headings}


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_links_lead_somewhere(page: Path) -> None:
    for target, anchor in LINK.findall(page.read_text()):
        if "://" in target or target.startswith("mailto:"):
            continue
        file = page.parent / target if target else page
        assert file.exists(), f"{target} is not there"
        if anchor:
            assert anchor in anchors(file), f"{target}#{anchor}: no such heading"


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_files_of_the_code_are_there(page: Path) -> None:
    for file in FILE.findall(page.read_text()):
        if file.removeprefix("relayd/") in PENDING:
            continue
        places = (ROOT, ROOT / "relayd", ROOT / "tests", ROOT / "benchmarks")
        assert any((place / file).exists() for place in places), f"{file} is not there"


def test_anchors_are_made_as_a_forge_makes_them(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# One\n\n## The -wal file\n\n## relayd's own: a list, again\n")
    assert anchors(page) == {"one", "the--wal-file", "relayds-own-a-list-again"}
