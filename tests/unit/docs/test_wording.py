"""Text that users see is plain technical English: a short list of phrases stays out of it.

User-visible are the strings of relayd/ (what is logged, printed or raised), each command's --help, the
configuration's JSON Schema, and the pages and files below. Docstrings and comments are not checked here.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import click
import pytest
from printed_text import Text, strings_of

from relayd.cli import cli
from relayd.config.schema import json_schema

ROOT = Path(__file__).parents[3]

PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    ROOT / "config.example.yaml",
    ROOT / "packaging" / "config.yaml",
    ROOT / "Makefile",
]

PHRASES = {
    r"stands? (?!for\b|still\b|in for\b)\w+": "is in, is at, is there, is defined at line …",
    r"(?:is|are|was|were|be) told": "is logged, is reported, reports, returns",
    r"anew": "again",
    r"what waits|what is waiting|waits on": "the backlog; pending; 3 pending, oldest 5m",
    r"(?<!there )(?:is|are|was|were) no (?!longer\b|more\b|\w+er than\b)\w+": "is not a …",
    r"(?:end|stop|exit|shut down|close|finish)\w* in order(?! to\b)|in order again": "cleanly",
    r"so (?:many|long)\b(?! as\b)": "a figure, this many, for that long",
    r"mend(?:s|ed|ing)?": "fix",
    r"who looks|whoever looks": "name who reads, or use the passive",
    r"lies (?:in|at|beside|below)": "is in, is beside",
    r"(?:is|are|was) through": "has finished",
    r"set aside|died at": "quarantined: it crashed relayd 3 times",
    r"under way": "in flight, in progress, running",
    r"(?:runs|hangs|waits|fails|lasts) since": "has been running for, stuck for, failing for",
    r"has to say|have to say|came of": "reports; the outcome of",
    r"is right\.": "OK",
}
"""What not to write, as regular expressions of whole words, and what to write."""


@dataclass(frozen=True)
class Finding:
    """A phrase in a text, with what is around it."""

    place: str
    phrase: str
    around: str
    instead: str

    def __str__(self) -> str:
        return f"{self.place}: “…{self.around}…”: not “{self.phrase}”, but: {self.instead}"


def findings(text: Text) -> Iterator[Finding]:
    for phrase, instead in PHRASES.items():
        for found in re.finditer(rf"\b(?:{phrase})(?!\w)", text.text, re.IGNORECASE):
            around = text.text[max(0, found.start() - 60) : found.end() + 60]
            yield Finding(text.place, found[0], around, instead)


def helps(command: click.Command, name: str = "relayd") -> Iterator[Text]:
    """Yield the help of a command and of those below it, as it is printed."""
    context = click.Context(command, info_name=name)
    yield Text(f"{name} --help", " ".join(command.get_help(context).split()))
    if isinstance(command, click.Group):
        for each in command.list_commands(context):
            below = command.get_command(context, each)
            assert below is not None
            yield from helps(below, f"{name} {each}")


def page(path: Path) -> Text:
    # The names of tests stay out of it, and phrases may be broken over lines.
    text = re.sub(r"`[^`\n]*(?:::|\.py)[^`\n]*`", "", path.read_text())
    if path.name == "glossary.md":  # its table of what not to write
        text = re.sub(r"(?m)^\| [^|]* \|", "", text)
    text = re.sub(r"(?m)^\s*#\s?", "", text) if path.suffix == ".yaml" else text
    return Text(str(path.relative_to(ROOT)), " ".join(text.split()))


@cache
def found() -> list[Finding]:
    texts = [each for path in (ROOT / "relayd").rglob("*.py") for each in strings_of(path)]
    texts += [page(path) for path in PAGES]
    texts += helps(cli)
    texts.append(Text("relayd schema", json.dumps(json_schema())))
    return [finding for text in texts for finding in findings(text)]


def test_text_that_users_see_is_plain_english() -> None:
    assert not found(), "\n".join(["write otherwise:", *map(str, found())])


@pytest.mark.parametrize(
    "text",
    [
        "the key stands twice",
        "the line is no JSON",
        "the operator is told",
        "it is made anew",
        "3 rows: what waits goes first",
        "it did not end in order",
        "so many attempts",
        "mend the file",
        "an attempt is under way",
        "config.yaml is right.",
        "relayd runs since 4h",
    ],
)
def test_phrases_are_found(text: str) -> None:
    assert list(findings(Text("here", text)))


@pytest.mark.parametrize(
    "text",
    [
        "there is no subscription 'x'",
        "the file is no longer there",
        "answers each line, in order",
        "in order to fix it, recommend another",
        "a wildcard stands for any type",
        "as long as it lasts, and so long as nobody asks",
        "an amended file",
    ],
)
def test_good_english_is_left_alone(text: str) -> None:
    assert not list(findings(Text("here", text)))
