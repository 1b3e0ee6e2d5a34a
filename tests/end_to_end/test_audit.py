"""`make audit`: what pip-audit could not check is said, and is not taken for well."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "packaging" / "audit" / "audit.py"


@pytest.fixture(scope="module")
def audit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("audit", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_pip_audit_found_is_told_apart(audit: ModuleType) -> None:
    vulnerability = {"id": "PYSEC-2022-42969", "fix_versions": ["1.12.0"], "aliases": []}
    known, skipped, reason = audit.judged(
        [
            {"name": "sound", "version": "1.0", "vulns": []},
            {"name": "py", "version": "1.11.0", "vulns": [vulnerability]},
            {"name": "unknown", "skip_reason": "Dependency not found on PyPI"},
        ]
    )
    assert known == ["py 1.11.0: PYSEC-2022-42969, mended in 1.12.0"]
    assert skipped == ["unknown"]
    assert "no advisories" in reason


def test_a_tool_that_fails_has_checked_nothing(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audit, "_tool", lambda _: ["sh", "-c", "echo it broke >&2; exit 1", "sh"])
    known, skipped, reason = audit.audit("requirements-dev.lock")
    assert (known, reason) == ([], "it broke")
    assert skipped == ["every package"]
