"""relayd's own events of its sources and reloads: what they say, and when there is something to say."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from relayd.core.json_text import JsonValue
from relayd.core.own_events import OwnEvent, shortened

UNAVAILABLE: Final = "relayd.source.unavailable"
SOURCE_RECOVERED: Final = "relayd.source.recovered"
REFUSED: Final = "relayd.reload.refused"

STEADY_S: Final = 60.0
"""A source is reported after it has waited for so long, and again once it has not for so long."""

REPEAT_S: Final = 600.0
"""A reload that is refused again for the same reasons is reported again after so long."""

MOST_REASONS: Final = 10

_URL: Final = re.compile(
    r"\b(\w++://)(?:[^/\s?#]*@)?([^/\s'\"?#]*)([/?#][^\s'\"]*)?|\b(mailto:)[^\s'\"<>@]{0,254}@"
)
"""In linear time, whatever the text is. A password may hold a quote, or an @."""


def source_unavailable(source: str, reason: str, since: float, now: float) -> OwnEvent:
    """Return what there is to say of a source that waits for `reason` since then, in Unix seconds."""
    thing: dict[str, JsonValue] = {
        "source": source,
        "reason": without_paths(reason),
        "since": int(min(since, now)),
        "next": "relayd status",
    }
    return OwnEvent(UNAVAILABLE, int(now), {"object": thing})


def source_recovered(source: str, since: float, now: float) -> OwnEvent:
    """Return what there is to say of a source that was reported, and waits no more."""
    thing: dict[str, JsonValue] = {
        "source": source,
        "since": int(min(since, now)),
        "recovered_at": int(now),
    }
    return OwnEvent(SOURCE_RECOVERED, int(now), {"object": thing})


def reload_refused(code: str, reasons: Sequence[str], now: float) -> OwnEvent:
    """Return what there is to say of a reload that was refused: the first reasons, and how many there are."""
    shown = [without_paths(each) for each in reasons[:MOST_REASONS]]
    thing: dict[str, JsonValue] = {
        "code": code,
        "reason": shown[0] if shown else "",
        "reasons": [*shown],
        "count": len(reasons),
        "since": int(now),
        "next": "relayd check" if code == "configuration" else "relayd reload",
    }
    return OwnEvent(REFUSED, int(now), {"object": thing})


def urls_cut(text: str) -> str:
    """Return text of any length with its URLs cut to `scheme://host/…`, and `mailto:…@host`."""
    return _URL.sub(_cut, text)


def _cut(url: "re.Match[str]") -> str:
    scheme, host, rest, mailto = url.groups()
    if mailto is not None:
        return f"{mailto}…@"
    return f"{scheme}{host}/…" if rest else f"{scheme}{host}"


def without_paths(text: str) -> str:
    """Return text with URLs cut to `scheme://host/…`, since for many services the path is the secret."""
    return shortened(urls_cut(text))


@dataclass(slots=True)
class Refusals:
    """Which refused reloads are news: another one for the same reasons is not, for `REPEAT_S`."""

    reasons: tuple[str, ...] | None = None
    reported_at: float = 0.0

    def is_news(self, reasons: Sequence[str], now: float) -> bool:
        """Tell whether a refusal at `now` is to be reported; `now` is of a clock that is never set."""
        same = self.reasons == tuple(reasons)
        if same and now < self.reported_at + REPEAT_S:
            return False
        self.reasons, self.reported_at = tuple(reasons), now
        return True

    def accepted(self) -> None:
        """Note that a reload was accepted: whatever is refused next is news."""
        self.reasons = None


@dataclass(frozen=True, slots=True)
class Waits:
    """How a source was at the last look, and since when, by a clock that is never set."""

    waiting: bool
    since: float


def waits_at(
    before: Mapping[str, Waits], waiting: Mapping[str, bool], now: float
) -> dict[str, Waits]:
    """Return how each source that there is now is, after another look."""
    return {
        source: known
        if (known := before.get(source)) is not None and known.waiting == waits
        else Waits(waits, now)
        for source, waits in waiting.items()
    }


@dataclass(frozen=True, slots=True)
class SourceNews:
    """Sources to report as unavailable and recovered, and those that no longer are: reported to nobody."""

    unavailable: tuple[str, ...]
    recovered: tuple[str, ...]
    forgotten: tuple[str, ...]


def source_news(waits: Mapping[str, Waits], reported: Iterable[str], now: float) -> SourceNews:
    """Return what there is to report; `reported` are the sources that were reported as unavailable.

    Both ways it takes `STEADY_S`: a source that comes and goes is no flood of events, and one that has just been
    started may wait as before.
    """
    known = set(reported)
    steady = {name: each for name, each in waits.items() if now >= each.since + STEADY_S}
    return SourceNews(
        tuple(name for name, each in steady.items() if each.waiting and name not in known),
        tuple(name for name, each in steady.items() if not each.waiting and name in known),
        tuple(sorted(known - waits.keys())),
    )
