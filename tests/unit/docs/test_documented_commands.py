"""The commands and options that the pages name are there."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from relayd.cli import cli

ROOT = Path(__file__).parents[3]
PAGES = [ROOT / "README.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]
GLOBAL = {"--config", "--json", "--help", "--version", "-h", "-V"}


def command_lines(text: str) -> Iterator[str]:
    """Yield what begins with `relayd `, in spans of code and in blocks, to the end of its line."""
    blocks = re.findall(r"^```sh\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    blocks += re.findall(r"(?:^    .*\n)+", text, re.MULTILINE)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    lines += re.findall(r"`([^`\n]+)`", text)
    for line in lines:
        if found := re.match(r"(?:sudo (?:-u \w+ )?|exec )?(relayd [a-z-].*)", line):
            yield re.split(r" [>|#;&]|\s{3,}|(?<!\"): ", found[1])[0].rstrip("…. ")


def problem(line: str) -> str | None:
    """Return what of a command line is not there."""
    words = [word for word in shlex.split(line)[1:] if not word.startswith("…")]
    command: click.Command = cli
    known = set(GLOBAL)
    for word in words:
        if isinstance(command, click.Group) and not word.startswith("-") and word.islower():
            below = command.get_command(click.Context(command), word)
            if below is None and not (command is cli and "." in word):
                return f"no command {word}"
            command = below or command
    known |= {option for each in command.params for option in each.opts}
    options = {word.split("=")[0] for word in words if re.match(r"--?[a-z]", word)}
    missing = options - known
    return f"no option {', '.join(sorted(missing))}" if missing else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    for line in command_lines(page.read_text()):
        assert problem(line) is None, f"`{line}`: {problem(line)}"


def test_what_does_not_exist_is_found() -> None:
    text = "`relayd deliver x`, `sudo relayd status --wach`\n\n```sh\nrelayd emit --nothing   # x\n```\n"
    assert [problem(line) for line in command_lines(text)] == [
        "no option --nothing",
        "no command deliver",
        "no option --wach",
    ]


def test_the_index_names_every_page() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    pages = {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
    assert pages <= set(re.findall(r"\]\(([a-z-]+\.md)\)", index))
    assert "docs/index.md" in (ROOT / "README.md").read_text()
