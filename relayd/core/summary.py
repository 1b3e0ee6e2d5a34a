"""How everything stands in one sentence, worst first, and what of it is an alarm.

`relayd status` begins with it, `status --check` judges by it, and other programs of relayd show the same.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from relayd.core.absence import Absence

PATIENCE_S: Final = 60.0
"""So long may a source wait, or a receiver fail, before it is an alarm."""


_MOST_NAMED: Final = 2


@dataclass(frozen=True, slots=True)
class Facts:
    """What the sentence is made of.

    `absence` says why no daemon answers, None where one does. `waiting_sources` have waited for
    `PATIENCE_S`. `exhausted` and `rejected` are all that are kept; those of `exhausted_since` and
    `rejected_since` came since the time asked for. `gone` are the subscriptions that are held by 410,
    `held` counts the deliveries that other holds hold, `held_back` the endpoints that answered 429 or
    503, `troubled` those whose last attempt failed, and that are none of this. `pending` is the whole
    backlog, `unheld` what of it no hold holds. `not_in_force` says what of the configuration is not in
    force: a phrase, or None.
    """

    absence: Absence | None
    endpoints: int
    failing: int
    waiting_sources: tuple[str, ...]
    reserve_in_use: bool
    exhausted: int
    exhausted_since: int
    gone: tuple[str, ...]
    held: int
    held_back: int
    troubled: int
    rejected: int
    rejected_since: int
    not_in_force: str | None
    pending: int
    unheld: int


@dataclass(frozen=True, slots=True)
class Concern:
    """One part of the sentence. `alarm`: `status --check` exits with 1 for it. `code` is for programs."""

    code: str
    words: str
    alarm: bool


_ABSENT: Final = {
    Absence.NOT_RUNNING: "relayd is not running",
    Absence.NOT_ANSWERING: "relayd does not answer",
    Absence.NOT_PERMITTED: "not known whether relayd runs (use sudo, or relayd's user)",
}


def concerns(facts: Facts) -> Iterator[Concern]:
    """Yield what is not well, worst first."""
    if facts.absence is not None:
        yield Concern(facts.absence, _ABSENT[facts.absence], alarm=True)
    if facts.reserve_in_use:
        yield Concern(
            "disk_full", "the disk is full: nothing is accepted until there is room", alarm=True
        )
    if facts.failing:
        words = f"{facts.failing} of {_counted(facts.endpoints, 'endpoint')} failing"
        yield Concern("failing", words, alarm=True)
    for name in facts.waiting_sources:
        yield Concern("source", f"{name} takes nothing in", alarm=True)
    yield from _of_deliveries(facts)
    if facts.rejected:
        alarm = facts.rejected_since > 0
        yield Concern("rejected", f"{facts.rejected:,} rejected", alarm)
    if facts.not_in_force is not None:
        yield Concern("not_in_force", facts.not_in_force, alarm=True)


def _of_deliveries(facts: Facts) -> Iterator[Concern]:
    if facts.exhausted:
        alarm = facts.exhausted_since > 0
        yield Concern("exhausted", f"{facts.exhausted:,} exhausted", alarm)
    if facts.gone:
        named = len(facts.gone) <= _MOST_NAMED
        which = " and ".join(facts.gone) if named else f"{len(facts.gone):,} subscriptions"
        yield Concern("gone", f"{which} held by 410 Gone", alarm=True)
    if facts.held:
        yield Concern("held", f"{facts.held:,} held", alarm=False)
    if facts.held_back:
        words = f"{_counted(facts.held_back, 'endpoint')} held back by 429 or 503"
        yield Concern("held_back", words, alarm=False)
    if facts.troubled:
        words = (
            f"last attempt failed at {facts.troubled:,} of {_counted(facts.endpoints, 'endpoint')}"
        )
        yield Concern("troubled", words, alarm=False)


def summary(facts: Facts) -> str:
    """Return how everything stands, in one sentence without a full stop."""
    if next(concerns(facts), None) is None:
        return f"All well: {standing(facts)}"
    return standing(facts)


def standing(facts: Facts) -> str:
    """Return the sentence without the judgement, for a line that begins with one.

    The backlog is its end: how much waits says how much there is in what is wrong.
    """
    found = [each.words for each in concerns(facts)]
    if not found:
        backlog = f"{facts.pending:,} pending" if facts.pending else "nothing pending"
        return f"{_counted(facts.endpoints, 'endpoint')}, {backlog}"
    if facts.unheld:
        found.append(f"{facts.unheld:,} pending")
    return ", ".join(found)


def alarm_line(facts: Facts, since: str) -> str | None:
    """Return the one line for a monitor, of the alarms alone; None where there is none.

    `since` is how far back exhausted deliveries and rejected input count, as `24h`.
    """
    counts = {
        "exhausted": f"{facts.exhausted_since:,} exhausted (--since {since})",
        "rejected": f"{facts.rejected_since:,} rejected (--since {since})",
    }
    found = [counts.get(each.code, each.words) for each in concerns(facts) if each.alarm]
    return ", ".join(found) if found else None


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}{'' if number == 1 else 's'}"
