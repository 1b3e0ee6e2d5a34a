"""How values look on a page: text that does nothing to what is around it, times, lengths, badges."""

import re
import time
from typing import Final

from markupsafe import Markup, escape

from relayd.core.shown_json import json_indented, json_printable
from relayd.views.moments import about, clock_time, iso

LONGEST: Final = 160
"""Characters of a text in a list."""

MOST_BODY: Final = 64 * 1024
"""Characters of a body on a page; the rest is one click away, as text."""

_JOINERS: Final = "\u200c\u200d"  # parts of words in some scripts, and of emoji
_COMMAND: Final = re.compile(r"`([^`\n]{1,200})`")

BADGES: Final = {
    "healthy": "good",
    "delivered": "good",
    "failing": "bad",
    "exhausted": "bad",
    "retrying": "warn",
    "waiting": "warn",
    "last_failed": "warn",
    "missed": "warn",
    "held": "held",
    "paused": "held",
    "inactive": "held",
    "removed": "held",
    "gone": "bad",
    "pending": "calm",
    "idle": "calm",
    "cancelled": "calm",
    "not_matched": "calm",
    "unknown": "calm",
}
"""What a word means: the colour and the symbol of its badge."""

_WORDS: Final = {
    "not_matched": "not matched",
    "gone": "410 gone",
    "waiting": "pending",
    "last_failed": "last attempt failed",
}


def visible(value: object) -> str:
    r"""Return text in which what is not printable, and what changes its direction, is escaped (`\u202e`)."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        char
        if char.isprintable() or char in _JOINERS
        else char.encode("unicode_escape", "surrogatepass").decode()
        for char in text
    )


def short(value: object, most: int = LONGEST) -> str:
    """Return the beginning of a text, visible."""
    text = str(value)
    return visible(text) if len(text) <= most else f"{visible(text[:most])}…"


def lines(value: object) -> str:
    """Return a response's text, visible, with its lines."""
    return "\n".join(map(visible, str(value).splitlines()))


def prose(value: object) -> Markup:
    """Return a sentence with its `commands` as code."""
    return Markup(_COMMAND.sub(r"<code>\1</code>", str(escape(visible(value)))))  # noqa: S704 - escaped before


def body(text: str) -> str:
    """Return the beginning of a JSON body, indented. No number is changed."""
    return json_printable(json_indented(text[:MOST_BODY]))


def moment(value: float | None) -> Markup:
    """Return a time as how long ago it was, or is to come; the whole of it on demand."""
    if value is None:
        return Markup("\u2013")
    away = value - time.time()
    words = f"in {about(away)}" if away >= 1 else "now" if away > -1 else f"{about(-away)} ago"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        iso(value), clock_time(value), words
    )


def milliseconds(value: float | None) -> str:
    """Return `85 ms` or `1.2 s`."""
    if value is None:
        return "\u2013"
    return f"{value:.0f} ms" if value < 1000 else f"{value / 1000:.1f} s"


def badge(word: object, given: str | None = None) -> Markup:
    """Return a state as a badge: a word, a colour, and a symbol for those who see no colours."""
    kind = BADGES.get(str(word), "calm")
    return Markup(
        '<span class="badge {0}"><svg class="icon" aria-hidden="true"><use href="/static/icons.svg#{0}"/></svg>{1}</span>'
    ).format(kind, given or _WORDS.get(str(word), str(word)))


FILTERS: Final = {
    "visible": visible,
    "short": short,
    "lines": lines,
    "prose": prose,
    "body": body,
    "moment": moment,
    "clock": clock_time,
    "about": about,
    "ms": milliseconds,
    "badge": badge,
}
