"""config.yaml(5) has each key of the configuration, with its description and default."""

import importlib
import json
import re
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from relayd.config.models import File
from relayd.config.schema import json_schema

ROOT = Path(__file__).parents[3]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(ROOT / "packaging")
    return importlib.import_module("config_page")


def shown(script: ModuleType) -> str:
    """Return the page as plain text of one line, without its example."""
    text = "\n".join(script.page()).partition(".SH EXAMPLE")[0]
    text = text.replace("\\-", "-").replace("\\&", "").replace("\\(aq", "'").replace("\\(ga", "`")
    return " ".join(text.replace("\\e", "\\").split())


def test_each_key_of_the_configuration_is_on_the_page(script: ModuleType) -> None:
    text = shown(script)
    schema = json_schema()
    sections = [schema, *schema["$defs"].values()]
    keys = [(key, each) for section in sections for key, each in section["properties"].items()]
    assert len(keys) >= 45
    assert {"secret", "retention", "allow_networks", "credential"} <= {key for key, _ in keys}
    for key, described in keys:
        text_of = " ".join(described.get("description", "").split())
        if not text_of:  # a section's description is the model's
            assert "$ref" in json.dumps(described)
            continue
        entry = re.search(
            rf"\.TP \.B {re.escape(key)} {re.escape(text_of)}(.*?)(?=\.TP|\.S[SH]|$)", text
        )
        assert entry is not None, key
        if not isinstance(described.get("default", {}), dict):
            assert f"Default: {json.dumps(described['default'])}." in entry[1], key
        for value in described.get("enum", ()):
            assert str(value) in entry[1], (key, value)
    for key in File.model_fields:
        assert f".TP .B {key} " in text


def test_sections_are_named_by_their_place(script: ModuleType) -> None:
    titles = re.findall(r'^\.SS "(.*)"$', "\n".join(script.page()), re.MULTILINE)
    assert {"spools.NAME", "socket", "queue", "log", "defaults", "subscriptions.NAME"} <= set(
        titles
    )
    assert (
        "It may be the value of http.token, http.read_token, http.producers.NAME.token, "
        "inbound.NAME.secret, smtp.password, "
        "defaults.headers.NAME, subscriptions.NAME.headers.NAME, subscriptions.NAME.url, "
        "subscriptions.NAME.secret, subscriptions.NAME.previous_secret, "
        "subscriptions.NAME.feed_token." in shown(script)
    )
    assert (
        "It may be the value of defaults.signature, subscriptions.NAME.signature. .TP .B header"
        in shown(script)
    )


def test_a_key_that_is_new_in_the_schema_comes_onto_the_page(
    script: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    schema = json_schema()
    schema["properties"]["novel"] = {"$ref": "#/$defs/Novel"}
    schema["$defs"]["Novel"] = {
        "description": "A new section.",
        "properties": {"ways": {"description": "How many.", "default": 3, "type": "integer"}},
    }
    monkeypatch.setattr(script, "json_schema", lambda: schema)
    assert '.SS "novel" A new section. .TP .B ways How many. Default: 3.' in shown(script)


def test_the_example_is_on_the_page_as_it_is(script: ModuleType) -> None:
    page = "\n".join(script.page())
    example = (ROOT / "config.example.yaml").read_text().rstrip("\n")
    rest = page.partition(".SH EXAMPLE")[2]
    assert script.escaped(example) in rest.partition(".SH FILES")[0]


@pytest.mark.skipif(shutil.which("groff") is None, reason="groff is not there")
def test_man_can_show_it(script: ModuleType) -> None:
    done = subprocess.run(
        ["groff", "-man", "-ww", "-K", "utf8", "-T", "utf8", "-P", "-c"],
        input="\n".join(script.page()) + "\n",
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == ""
    text = re.sub(r".\x08", "", done.stdout)
    assert "config.yaml - the configuration of relayd" in text
    assert "           path: /var/lib/relayd/spool/spool.db" in text


def test_the_package_installs_it() -> None:
    build = (ROOT / "packaging" / "build-deb").read_text()
    assert "packaging/config_page.py | gzip" in build
    assert "usr/share/man/man5/config.yaml.5.gz" in build
