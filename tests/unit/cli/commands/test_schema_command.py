"""`schema`, and the comment with which an editor finds what it prints."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from relayd.cli import cli
from relayd.config.schema import json_schema

ROOT = Path(__file__).parents[4]


def test_it_prints_the_schema() -> None:
    result = CliRunner().invoke(cli, ["schema"])
    assert result.exit_code == 0
    assert json.loads(result.stdout) == json_schema()


@pytest.mark.parametrize(
    ("name", "schema"),
    [
        ("config.example.yaml", "config.schema.json"),
        ("packaging/config.yaml", "/usr/share/relayd/config.schema.json"),
    ],
)
def test_editors_find_it(name: str, schema: str) -> None:
    # The YAML language server looks for this line.
    first = (ROOT / name).read_text().splitlines()[0]
    assert first == f"# yaml-language-server: $schema={schema}"


def test_every_key_is_explained_and_no_default_is_null() -> None:
    schema = json_schema()
    sections = {"": schema, **schema["$defs"]}
    for name, section in sections.items():
        for key, value in section.get("properties", {}).items():
            shown = json.dumps(value)
            # A section that is explained where it is defined need not be explained again.
            referred = re.search(r"#/\$defs/(\w+)", shown)
            explained = "description" in value or (
                referred is not None and "description" in schema["$defs"][referred[1]]
            )
            assert explained, (name, key)
            assert "null" not in json.dumps(value.get("default", 0)), (name, key)
            assert '"default": {"' not in shown, (name, key)
