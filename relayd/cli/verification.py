"""Whether a signature is right, over each of the forms in which receivers verify a body."""

from collections.abc import Callable
from dataclasses import dataclass

import click

from relayd.core.js_json import Parsed, parse_json
from relayd.core.json_text import encoded, stringify

STRINGIFIED = "JSON.stringify(JSON.parse(body))"


@dataclass(frozen=True, slots=True)
class Verdict:
    """Over which forms of the body a signature is right.

    `raw`: its bytes as they came; `stringified`: `JSON.stringify(JSON.parse(body))`.
    """

    raw: bool
    stringified: bool

    @property
    def both(self) -> bool:
        """Whether every receiver accepts it."""
        return self.raw and self.stringified


def stringified(body: bytes) -> bytes | None:
    """Return `JSON.stringify(JSON.parse(body))`, or None for what is not JSON."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    parsed = parse_json(text)
    return encoded(stringify(parsed.value)) if isinstance(parsed, Parsed) else None


def over_both(body: bytes, is_right: Callable[[bytes], bool]) -> Verdict:
    """Try both forms of a body. `is_right` tells whether the signature is right over some bytes."""
    other = stringified(body)
    return Verdict(is_right(body), other is not None and is_right(other))


def id_in(body: bytes) -> str:
    """Return the id of the event in a body; end the command where there is none."""
    parsed = parse_json(body.decode(errors="replace"))
    event = parsed.value if isinstance(parsed, Parsed) else None
    value = event.get("id") if isinstance(event, dict) else None
    if not isinstance(value, str) or not value.isascii() or not value.isprintable():
        raise click.UsageError("The body has no id: give one with --id.")
    return value
