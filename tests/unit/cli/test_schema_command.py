"""`schema`, and the comment with which an editor finds what it prints."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from relayd.cli import cli
from relayd.config.schema import json_schema

ROOT = Path(__file__).parents[3]


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


def test_every_key_is_explained() -> None:
    def unexplained(section: dict[str, object], path: str) -> list[str]:
        found = []
        properties = section.get("properties")
        for key, value in properties.items() if isinstance(properties, dict) else ():
            if "description" not in value and "$ref" not in value:
                found.append(f"{path}.{key}")
        return found

    schema = json_schema()
    assert unexplained(schema, "") == []
    for name, section in schema["$defs"].items():
        assert unexplained(section, name) == [], name
    assert re.fullmatch(r"[^\n]+", schema["description"])
