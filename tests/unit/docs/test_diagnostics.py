"""docs/diagnostics.md has each log event of the code, at its level, and no other."""

import ast
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "diagnostics.md"

LEVELS = {
    "debug": "debug",
    "info": "info",
    "warning": "warning",
    "error": "error",
    "exception": "error",
    "critical": "critical",
}
ENTRY = re.compile(r"^- `([a-z0-9_]+)` \(([a-z, ]+)\)[:,] (\S.*)$", re.DOTALL)
ACTED_ON = {"warning", "error", "critical"}


def _is_log(node: ast.expr) -> bool:
    name = node.id if isinstance(node, ast.Name) else getattr(node, "attr", "")
    return name.strip("_") == "log"


def _levels(node: ast.expr, chosen: Mapping[str, set[str]]) -> set[str]:
    """Return the levels of what is called: `_log.info`, or a name that is one of several of them."""
    if isinstance(node, ast.Attribute) and node.attr in LEVELS and _is_log(node.value):
        return {LEVELS[node.attr]}
    return chosen.get(node.id, set()) if isinstance(node, ast.Name) else set()


def _chosen(tree: ast.AST) -> dict[str, set[str]]:
    """Return the names to which a log's methods are assigned: `tell = _log.warning if … else …`."""
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            value = node.value
            either = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
            if levels := set[str]().union(*(_levels(each, {}) for each in either)):
                found[node.targets[0].id] = levels
    return found


def logged(source: str) -> Iterator[tuple[str | None, str, int]]:
    """Yield each logged event of a module: its name (None where it is not literal), level, line."""
    tree = ast.parse(source)
    chosen = _chosen(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            for level in _levels(node.func, chosen):
                name = node.args[0].value if node.args and isinstance(node.args[0], ast.Constant) else None  # fmt: skip
                yield name if isinstance(name, str) else None, level, node.lineno


def logged_in_the_package() -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted((ROOT / "relayd").rglob("*.py")):
        for name, level, line in logged(path.read_text()):
            assert name is not None, f"{path}:{line}: write the event's name here, as a literal"
            found[name].add(level)
    return found


def documented() -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in re.findall(r"^- `.*(?:\n  .*)*", PAGE.read_text(), re.MULTILINE):
        entry = ENTRY.match(each)
        assert entry is not None, f"not `- NAME (LEVELS): MEANING. *Do:* …`: {each}"
        name, levels, text = entry[1], set(entry[2].split(", ")), entry[3]
        assert name not in found, f"{name} has two entries"
        assert "*Do:*" in text or not levels & ACTED_ON, f"{name}: what to do? (`*Do:* …`)"
        found[name] = levels
    return found


def test_the_page_has_each_log_event_with_its_level() -> None:
    in_the_code, on_the_page = logged_in_the_package(), documented()
    assert in_the_code.keys() - on_the_page.keys() == set(), "not in docs/diagnostics.md"
    assert on_the_page.keys() - in_the_code.keys() == set(), "in docs/diagnostics.md only"
    assert on_the_page == in_the_code


def test_names_are_of_one_form() -> None:
    for name in logged_in_the_package():
        assert re.fullmatch(r"[a-z]+(_[a-z0-9]+)*", name), name


def test_events_are_found_however_they_are_logged() -> None:
    source = """
_log.info("plain", key=1)
self._log.bind(a=1)
log.exception("with_traceback")
tell = _log.warning if deaths < 3 else _log.error
tell("either", deaths=1)
_log.warning(name)
self._catalog.info("another thing")
"""
    assert set(logged(source)) == {
        ("plain", "info", 2),
        ("with_traceback", "error", 4),
        ("either", "warning", 6),
        ("either", "error", 6),
        (None, "warning", 7),
    }
