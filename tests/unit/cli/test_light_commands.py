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

_SCRIPT = """
import json, sys, click
from relayd.cli import cli
assert cli.get_command(click.Context(cli), sys.argv[1]) is not None
print(json.dumps(list(sys.modules)))
"""


@pytest.mark.parametrize("name", ["status", "deliveries", "show", "backup", "pause", "test"])
def test_nothing_heavy_is_loaded(name: str) -> None:
    arguments = [sys.executable, "-c", _SCRIPT, name]
    loaded = json.loads(subprocess.run(arguments, check=True, capture_output=True).stdout)
    assert HEAVY.intersection(loaded) == set()


def test_what_would_be_noticed() -> None:
    arguments = [sys.executable, "-c", _SCRIPT, "run"]
    loaded = json.loads(subprocess.run(arguments, check=True, capture_output=True).stdout)
    assert HEAVY.intersection(loaded) == HEAVY
