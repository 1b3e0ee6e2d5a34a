"""Commands that look into the queue load no more than they need: they are called in a hurry."""

import json
import subprocess
import sys

import pytest

HEAVY = {
    "pydantic",
    "httpx",
    "trio",
    "rich",
    "structlog",
    "asyncio",
    "email",
    "relayd.core.conditions",
}

_PRINT = """
print(json.dumps(list(sys.modules)))
"""

_SCRIPT = f"""
import json, sys, click
from relayd.cli import cli
assert cli.get_command(click.Context(cli), sys.argv[1]) is not None
{_PRINT}
"""


@pytest.mark.parametrize(
    "name", ["status", "deliveries", "show", "backup", "pause", "replay", "test"]
)
def test_nothing_heavy_is_loaded(name: str) -> None:
    arguments = [sys.executable, "-c", _SCRIPT, name]
    loaded = json.loads(subprocess.run(arguments, check=True, capture_output=True).stdout)
    assert HEAVY.intersection(loaded) == set()


def test_what_would_be_noticed() -> None:
    loaded: set[str] = set()
    # The daemon loads neither pydantic (a child does) nor rich (which prints tables).
    for script in (_SCRIPT, "import json, sys, rich.table, relayd.config.build" + _PRINT):
        arguments = [sys.executable, "-c", script, "run"]
        printed = subprocess.run(arguments, check=True, capture_output=True).stdout
        loaded.update(json.loads(printed))
    assert HEAVY.intersection(loaded) == HEAVY
