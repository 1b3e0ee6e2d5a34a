"""The house's floors: imports point down, and parts on one floor do not know each other."""

import ast
import re
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "relayd"

FLOORS: list[list[str]] = [
    [
        "core",
        "permissions",
        "file_identity",
        "program_files",
        "client_certificate",
        "malloc",
    ],
    ["template_sandbox"],
    ["config", "sqlite_errors", "asyncio_thread", "child_process", "pacing", "merged_calls"],
    ["queue.values", "queue.snapshot_values"],
    [
        "queue.delivery_filter",
        "queue.event_filter",
        "queue.delivery_queue",
        "queue.overview_values",
    ],
    ["queue.interface", "queue.snapshot"],
    [
        "crash_journal",
        "database",
        "log",
        "systemd",
        "control",
        "batched_change",
        "spool",
        "orphans",
    ],
    ["config_process", "template_renderer"],
    ["containment"],
    ["unix_socket"],
    ["queue", "sources", "transport"],
    ["views"],
    ["intake", "delivery"],
    ["source_tasks", "config_loader", "web_file", "web"],
    ["web.api"],
    ["web.dashboard"],
    [
        "web.dashboard.overview",
        "web.dashboard.deliveries",
        "web.dashboard.events",
        "web.dashboard.problems",
        "web.dashboard.configuration",
        "web.dashboard.login",
    ],
    ["web.dashboard.acting"],
    [
        "web.dashboard.delivery_actions",
        "web.dashboard.subscription_actions",
        "web.dashboard.subscription",
        "web.dashboard.rejected",
    ],
    ["web.dashboard.subscription_editing"],
    ["web.dashboard.routes"],
    ["web.main"],
    ["commands", "watchdog", "notices", "clock"],
    ["reload"],
    ["assembly"],
    ["daemon"],
    ["cli"],
    ["__main__"],
]
"""From the ground up. A name stands for the module or package and all below it; the most specific
one counts."""

# The standard library's and others' doors to the outside, which the core does not open.
IMPURE = {
    "aiosqlite", "asyncio", "httpx", "io", "logging", "os", "pathlib", "random", "secrets",
    "socket", "sqlite3", "ssl", "structlog", "subprocess", "threading", "time", "trio", "yaml",
}  # fmt: skip

# What prints, draws or asks: a document is for each program that shows it, the web process too.
TERMINAL = {"click", "rich", "sys"}


def _module(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def _part(module: str) -> tuple[int, str] | None:
    found: tuple[int, str] | None = None
    for floor, parts in enumerate(FLOORS):
        for part in parts:
            inside = module == part or module.startswith(f"{part}.")
            if inside and (found is None or len(part) > len(found[1])):
                found = (floor, part)
    return found


def _imports(path: Path) -> list[str]:
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they lead"
            names.append(node.module or "")
    return names


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=_module)
def test_imports_point_down(path: Path) -> None:
    module = _module(path)
    here = _part(module)
    if not module:
        return
    assert here is not None, f"{module} stands on no floor: give it one in FLOORS"
    for name in _imports(path):
        if not name.startswith("relayd."):
            continue
        there = _part(name.removeprefix("relayd."))
        assert there is not None, f"{module} imports {name}, which stands on no floor"
        assert there[1] == here[1] or there[0] < here[0], f"{module} may not import {name}"


_ROW = re.compile(r"\| (\d+) \| (`[^|]+`) \| [^|]+ \|")


def test_the_page_has_each_part_on_its_floor() -> None:
    page = (PACKAGE.parent / "docs" / "architecture.md").read_text()
    shown: list[list[str]] = [[] for _ in FLOORS]
    for number, names in _ROW.findall(page):
        for name in names.split(", "):
            part = name.strip("`").removesuffix(".py").removesuffix("/")
            shown[int(number) - 1].append(part.replace("/", "."))
    assert [sorted(each) for each in shown] == [sorted(each) for each in FLOORS]


SQLITE = {"database", "queue.sqlite", "spool", "sqlite_errors"}
"""Only these know that there is SQLite: of all others, none has a connection, or a row."""

COMPOSING = {"assembly", "queue.sqlite", "daemon", "cli"}
"""These choose what keeps the queue; all others know its interface and its values."""


def _is_of(module: str, parts: set[str]) -> bool:
    return any(module == part or module.startswith(f"{part}.") for part in parts)


@pytest.mark.parametrize("path", MODULES, ids=_module)
def test_sqlite_stays_where_it_belongs(path: Path) -> None:
    module, names = _module(path), _imports(path)
    if not _is_of(module, SQLITE):
        assert not {name.split(".")[0] for name in names} & {"sqlite3", "aiosqlite"}
    if not _is_of(module, COMPOSING):
        assert not [name for name in names if _is_of(name, {"relayd.queue.sqlite"})]


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").rglob("*.py")), ids=_module)
def test_the_core_is_pure(path: Path) -> None:
    assert not {name.split(".")[0] for name in _imports(path)} & IMPURE


@pytest.mark.parametrize("path", sorted((PACKAGE / "views").glob("*.py")), ids=_module)
def test_views_know_no_terminal_and_ask_nobody(path: Path) -> None:
    names = _imports(path)
    assert not {name.split(".")[0] for name in names} & TERMINAL
    assert "relayd.control" not in names


def test_the_floors_find_an_arrow_that_points_up() -> None:
    assert _part("queue.sqlite.claim") == (10, "queue")
    assert _part("delivery.endpoint_task") == (12, "delivery")
    assert _part("transport.connection") == (10, "transport")
    assert _part("nowhere") is None


@pytest.mark.parametrize("path", MODULES, ids=_module)
def test_a_path_where_nobody_may_look_is_no_exception(path: Path) -> None:
    """Path's own questions raise PermissionError there, and `resolve` RuntimeError for a loop.

    `os.path.exists` and its like answer instead.
    """
    asked = [ast.unparse(node) for node in ast.walk(ast.parse(path.read_text())) if _asks(node)]
    assert not asked, "write os.path.exists(…) and the like"


def _asks(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and not node.args
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"exists", "is_dir", "is_file", "is_symlink", "is_socket", "resolve"}
    )
