"""Own events of what an operator runs, sources and reloads: what they say, and when there is something to say."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from relayd.core.json_text import JsonValue
from relayd.core.own_events import OwnEvent, shortened

UNAVAILABLE: Final = "relayd.source.unavailable"
SOURCE_RECOVERED: Final = "relayd.source.recovered"
REFUSED: Final = "relayd.reload.refused"

STEADY_S: Final = 60.0
"""A source is reported after it has waited for so long, and again once it has not for so long."""

REPEAT_S: Final = 600.0
"""So far apart are two events of refused reloads, for whatever reasons."""

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


@dataclass(frozen=True, slots=True)
class Refused:
    """Reloads that were refused: how many, since when (in Unix seconds), and why the last one was."""

    code: str
    reasons: tuple[str, ...]
    refusals: int
    since: float

    def after(self, earlier: "Refused | None") -> "Refused":
        """Return these together with earlier ones."""
        if earlier is None:
            return self
        return replace(
            self,
            refusals=self.refusals + earlier.refusals,
            since=min(self.since, earlier.since),
        )


def reload_refused(refused: Refused, now: float) -> OwnEvent:
    """Return what there is to say of refused reloads: the last one's first reasons, and how many there are."""
    shown = [without_paths(each) for each in refused.reasons[:MOST_REASONS]]
    thing: dict[str, JsonValue] = {
        "code": refused.code,
        "reason": shown[0] if shown else "",
        "reasons": [*shown],
        "count": len(refused.reasons),
        "refusals": refused.refusals,
        "since": int(min(refused.since, now)),
        "next": "relayd check" if refused.code == "configuration" else "relayd reload",
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
    """When refused reloads are reported: the first at once, and then at most one event in `REPEAT_S`.

    What is refused meanwhile is counted. Once that time is over it is reported, unless the file is
    refused for the reasons that were reported, or has been accepted. `now` is of a clock that is never set.
    """

    pending: Refused | None = None
    reported: tuple[str, ...] | None = None
    """For which reasons the last one was refused that was reported."""
    reported_at: float | None = None
    under_way: Refused | None = None
    """What was taken last to be reported, unless a reload was accepted since."""

    def refused(self, refused: Refused, now: float) -> Refused | None:
        """Note a refused reload, and return what is to be reported at once, if anything."""
        self.pending = refused.after(self.pending)
        return self._take(now)

    def due(self, now: float) -> Refused | None:
        """Return what was counted and is to be reported by now, if anything."""
        if self.pending is None or self.pending.reasons == self.reported:
            return None
        return self._take(now)

    def _take(self, now: float) -> Refused | None:
        if self.reported_at is not None and now < self.reported_at + REPEAT_S:
            return None
        taken, self.pending = self.pending, None
        self.under_way = taken
        if taken is not None:
            self.reported, self.reported_at = taken.reasons, now
        return taken

    def put_back(self, taken: Refused) -> None:
        """Count what could not be reported after all: it is due, unless a reload was accepted meanwhile."""
        if self.under_way is not taken:
            return
        self.pending = taken if self.pending is None else self.pending.after(taken)
        self.reported = self.reported_at = None

    def accepted(self) -> None:
        """Note that a reload was accepted: what was refused before it is no longer worth an event."""
        self.pending = self.reported = self.under_way = None


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
