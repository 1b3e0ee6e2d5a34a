"""`template:` in the file: read and checked when the configuration is, and told apart by its text."""

import os
import sys
from pathlib import Path

import pytest
import yaml

from relayd.config.config import Config
from relayd.config.difference import difference
from relayd.config.load import ConfigError, load_config
from relayd.config.load_in_child import load_config_in_child
from relayd.config.transfer import pieces_of, received
from relayd.core.parts import whole


class Files:
    """A folder with a configuration and a template in it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "config.yaml"
        self.template = folder / "order.json.j2"
        self.template.write_text('{"text": {{ sentence|tojson }}}\n')

    def write(self, *subscriptions: dict[str, object], **other: object) -> None:
        common = {"url": "https://a.example/", "events": ["*"], "secret": "hunter2-hunter2-hunter2"}
        file = {
            "market_id": "m",
            "spools": {"market": {"path": "spool.db"}},
            "queue": {"path": "queue.db"},
            **other,
            "subscriptions": {f"s{n}": {**common, **each} for n, each in enumerate(subscriptions)},
        }
        self.path.touch(0o600)
        self.path.write_text(yaml.safe_dump(file, sort_keys=False))

    def load(self, *subscriptions: dict[str, object], **other: object) -> Config:
        self.write(*subscriptions, **other)
        return load_config(self.path, environ=dict(os.environ))

    def problem(self, *subscriptions: dict[str, object], **other: object) -> str:
        with pytest.raises(ConfigError) as caught:
            self.load(*subscriptions, **other)
        (problem,) = caught.value.problems
        assert problem.line
        return str(caught.value)


TEMPLATE: dict[str, object] = {"template": "order.json.j2"}


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_a_template_is_read_with_the_configuration(files: Files) -> None:
    files.template.with_name("note.txt").write_text("{{ sentence }}")
    config = files.load(TEMPLATE, {"template": str(files.template)}, {"template": "note.txt"})
    first, second, note = config.subscriptions.values()
    assert first.template is not None
    assert note.template is not None
    assert first.template is second.template
    assert first.template.text == files.template.read_text()
    assert first.template.content_type == "application/json"
    assert note.template.content_type == "text/plain; charset=utf-8"
    assert "sentence" not in repr(first)
    assert str(files.template) in [each.path for each in config.files]


def test_it_comes_back_from_the_process_that_reads_it_once(files: Files) -> None:
    config = files.load(TEMPLATE, TEMPLATE)
    raw = memoryview(b"".join(pieces_of(config)))
    assert bytes(raw).count(b"sentence|tojson") == 1
    back = whole(received(raw))
    assert back == config
    again = whole(received(raw, back))
    assert again.subscriptions["s0"] is back.subscriptions["s0"]
    assert again.subscriptions["s0"].template is again.subscriptions["s1"].template


def test_the_defaults_content_type_is_that_of_events(files: Files) -> None:
    defaults = {"headers": {"Content-Type": "application/cloudevents+json", "X-A": "1"}}
    own = {**TEMPLATE, "headers": {"content-type": "text/markdown"}}
    first, second = files.load(TEMPLATE, own, defaults=defaults).subscriptions.values()
    assert first.headers == (("X-A", "1"),)
    assert dict(second.headers) == {"X-A": "1", "content-type": "text/markdown"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\n{{ data.", "order.json.j2:2: expected name or number"),
        ("{{ 1 }}\n{{ order.id }}", "order.json.j2:2: order is not defined"),
        ("{{ id|nonsense }}", "order.json.j2:1: No filter named 'nonsense'"),
        ("{% include 'a' %}", "order.json.j2:1: include, import and extends are not available"),
        (" \n", "is empty"),
        ("x" * 65_537, "has more than 64 KiB"),
        (b"\xff", "is not text in UTF-8"),
        (None, "does not exist"),
    ],
)
def test_what_is_wrong_with_it_is_said_with_its_line(
    files: Files, text: str | bytes | None, said: str
) -> None:
    files.template.unlink()
    if text is not None:
        files.template.write_bytes(text.encode() if isinstance(text, str) else text)
    problem = files.problem(TEMPLATE)
    assert "subscriptions.s0.template: " in problem
    assert said in problem


def test_a_template_that_everybody_may_write_is_refused(files: Files) -> None:
    files.template.chmod(0o666)
    assert "may be written by everybody on this machine" in files.problem(TEMPLATE)


def test_a_template_that_everybody_may_read_is_not(files: Files) -> None:
    files.template.chmod(0o644)
    assert files.load(TEMPLATE).subscriptions["s0"].template is not None


def test_without_jinja_it_says_what_to_install(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "relayd.template_sandbox", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2", None)
    problem = files.problem(TEMPLATE)
    assert "needs Jinja2, which is not installed where relayd is" in problem
    assert "pip install -c constraints.txt '.[templates]'" in problem


def test_a_format_and_a_template_exclude_each_other(files: Files) -> None:
    problem = files.problem({**TEMPLATE, "format": "slack"})
    assert "template: and `format` cannot both say what is sent (remove one)" in problem


def test_mail_has_no_template(files: Files) -> None:
    smtp = {"host": "localhost", "port": 25, "tls": "none", "from": "relayd@market.example"}
    problem = files.problem({**TEMPLATE, "url": "mailto:ops@market.example"}, smtp=smtp)
    assert "template: is for http, and a mail has a form of its own" in problem


def test_a_template_needs_a_secret(files: Files) -> None:
    files.write(TEMPLATE)
    document = yaml.safe_load(files.path.read_text())
    del document["subscriptions"]["s0"]["secret"]
    files.path.write_text(yaml.safe_dump(document))
    with pytest.raises(ConfigError, match=r"subscriptions\.s0\.secret: is missing"):
        load_config(files.path, environ={})


def test_another_text_releases_the_backlog(files: Files) -> None:
    plain, before = files.load({}), files.load(TEMPLATE)
    assert difference(plain, before).subscriptions.changed == {"s0": ("template",)}
    files.template.write_text("other")
    after = files.load(TEMPLATE)
    changed = difference(before, after)
    assert changed.subscriptions.changed == {"s0": ("template",)}
    assert changed.released == {"s0"}
    marks = {
        each.subscriptions["s0"].made_with(b"key", next(iter(each.endpoints.values())))
        for each in (plain, before, after)
    }
    assert len(marks) == 3


def test_the_process_that_reads_it_can_check_it(files: Files) -> None:
    files.write(TEMPLATE)
    config = load_config_in_child(files.path, environ=dict(os.environ))
    assert config == load_config(files.path, environ=dict(os.environ))
