"""The configurations in the pages are accepted as they are printed."""

import re
from pathlib import Path

import pytest

from relayd.config.load import load_config

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKED = re.compile(
    r"^<!-- snippet: (\S+\.yaml) -->\n+```yaml\n(.*?)^```", re.DOTALL | re.MULTILINE
)
EXAMPLES = dict(found for page in PAGES for found in MARKED.findall(page.read_text()))
SECRETS = "/etc/relayd/secrets/"


def test_there_are_examples() -> None:
    assert {"first_config.yaml", "notify_slack.yaml"} <= EXAMPLES.keys()


@pytest.mark.parametrize("name", EXAMPLES)
def test_an_example_is_accepted(name: str, tmp_path: Path) -> None:
    text = EXAMPLES[name]
    tmp_path.chmod(0o700)
    for secret in re.findall(rf"{SECRETS}([a-z-]+)", text):
        url = tmp_path / secret
        url.write_text("https://chat.example/services/T0/B0/X0")
        url.chmod(0o400)
    for template in re.findall(r"template: (/etc/relayd/\S+)", text):
        (tmp_path / Path(template).name).write_text("{{ sentence }}")
        text = text.replace(template, Path(template).name)
    if "\nmarket_id:" not in f"\n{text}":  # subscriptions alone: with the rest of the first one's
        text = EXAMPLES["first_config.yaml"].partition("\nsubscriptions:")[0] + "\n" + text
    path = tmp_path / "config.yaml"
    path.write_text(text.replace(SECRETS, f"{tmp_path}/"))
    path.chmod(0o600)
    config = load_config(path, environ={})
    assert len(config.subscriptions) == 1
