"""The bodies that are sent instead of an event's own: one sentence, as a chat or a reader takes it."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal

from relayd.core.json_text import JsonValue, encoded, stringify
from relayd.core.sentence import sentence_about

Format = Literal["slack", "discord", "text"]
"""Of whose form the sentence is that a subscription sends instead of the event."""

JSON_TYPE: Final = "application/json"
TEXT_TYPE: Final = "text/plain; charset=utf-8"

SLACK_CHARACTERS: Final = 4_000
"""What Slack recommends; it cuts a message at 40,000."""

DISCORD_CHARACTERS: Final = 2_000
"""Discord refuses a longer message."""

TEXT_CHARACTERS: Final = 4_000
"""ntfy makes an attachment of what has more than 4,096 bytes; most texts are ASCII."""


@dataclass(frozen=True, slots=True)
class Formed:
    """A body that was made for one delivery, and its Content-Type."""

    body: bytes = field(repr=False)
    content_type: str


def formed(event: Mapping[str, object], form: Format) -> Formed:
    """Return the one sentence about an event in the form that a service accepts."""
    match form:
        case "slack":
            text = _cut(str(sentence_about(event, _for_slack)), SLACK_CHARACTERS, _PART_OF_ENTITY)
            return Formed(encoded(stringify({"text": text})), JSON_TYPE)
        case "discord":
            text = _cut(
                str(sentence_about(event, _for_discord)), DISCORD_CHARACTERS, _PART_OF_ESCAPE
            )
            message: JsonValue = {"content": text, "allowed_mentions": {"parse": []}}
            return Formed(encoded(stringify(message)), JSON_TYPE)
        case "text":
            text = _cut(str(sentence_about(event)), TEXT_CHARACTERS)
            return Formed(text.encode(), TEXT_TYPE)


# https://docs.slack.dev/messaging/formatting-message-text#escaping: these three, and no others. With
# them go mentions (<!channel>, <@U123>) and links with another text.
_SLACK: Final = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;"})

# Discord shows any ASCII punctuation behind a backslash as it is.
_DISCORD: Final = re.compile(r"([!-/:-@\[-`{-~])")

_PART_OF_ENTITY: Final = re.compile(r"&[a-z]{0,3}\Z")
_PART_OF_ESCAPE: Final = re.compile(r"(?<!\\)(?:\\\\)*\\\Z")


def _for_slack(text: str) -> str:
    return text.translate(_SLACK)


def _for_discord(text: str) -> str:
    return _DISCORD.sub(r"\\\1", text)


def _cut(text: str, most: int, broken: re.Pattern[str] | None = None) -> str:
    """Cut a text, and what the cut left of an escape."""
    if len(text) <= most:
        return text
    kept = text[: most - 1]
    if broken is not None and (match := broken.search(kept)) is not None:
        # Of a row of backslashes only the last one is open.
        kept = kept[:-1] if match[0].endswith("\\") else kept[: match.start()]
    return f"{kept}…"
