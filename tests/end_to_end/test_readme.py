"""The README's commands are there. Its programs are those of docs/, and run in docs/."""

import re
from pathlib import Path

from processes import run_command

from relayd.config.template import first_config

README = (Path(__file__).parents[2] / "README.md").read_text()


def test_the_readme_has_a_configuration_a_producer_and_a_receiver() -> None:
    named = re.findall(r"<!-- snippet: (\S+) -->", README)
    assert named == [
        "first_config.yaml",
        "producer.py",
        "producer.js",
        "receiver.js",
    ]


def test_its_configuration_is_what_init_writes() -> None:
    [printed] = re.findall(
        r"<!-- snippet: first_config.yaml -->\n```yaml\n(.*?)```", README, re.DOTALL
    )
    [secret] = re.findall(r'secret: "(\w+)"', printed)
    assert printed == first_config(secret)


async def test_every_command_in_the_readme_exists() -> None:
    spans = re.findall(r"`(relayd [^`\n]+)`", README)
    blocks = re.findall(r"```sh\n(.*?)```", README, flags=re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()] + spans
    named = {line.split()[1] for line in lines if line.startswith("relayd ")}
    assert named >= {"init", "run", "check", "emit", "reload", "deliveries"}
    completed = await run_command("--help")
    known = set(re.findall(r"^  ([a-z]+)  ", completed.stdout.decode(), flags=re.MULTILINE))
    assert named - known == set(), "the README names commands that do not exist"
