"""When relayd's own events that are counted are due: the first at once, then one in ten minutes for each subject.

A notice is kept for each type and subject from the first own event on. Ten minutes after the last own event
what has happened since is reported, and the next ten minutes begin; where nothing has, the notice ends.
Its time is of the wall clock, since it outlives relayd. Where that lies ahead of now the clock was set back, and
the notice is due: a clock that jumps can cause one event too many, and silence none.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from relayd.core.clock_step import STEP_S
from relayd.core.own_events import MOST_IDS, Counted

INTERVAL_S: Final = 600.0


@dataclass(frozen=True, slots=True)
class Notice:
    """When the last own event of a type for a subject was made, and what has happened since."""

    last_sent_at: float
    counted: Counted | None = None


def is_due(last_sent_at: float, now: float) -> bool:
    """Tell whether a notice's ten minutes are over, or its clock was set back. Times are Unix seconds."""
    return last_sent_at + INTERVAL_S <= now or last_sent_at > now + STEP_S


def together(earlier: Counted | None, later: Counted) -> Counted:
    """Return what happened in both, of one type and subject; the details are the later one's."""
    if earlier is None:
        return later
    return replace(
        later,
        count=earlier.count + later.count,
        since=min(earlier.since, later.since),
        ids=(earlier.ids + later.ids)[:MOST_IDS],
    )


def summed(counted: Iterable[Counted]) -> list[Counted]:
    """Return one for each type and subject, in the order in which these first come."""
    found: dict[tuple[str, str], Counted] = {}
    for each in counted:
        key = each.type, each.subject
        found[key] = together(found.get(key), each)
    return list(found.values())


def after_happening(
    notice: Notice | None, happened: Counted, now: float
) -> tuple[Notice, Counted | None]:
    """Return the notice after something happened at `now`, and what is to be reported at once, if anything."""
    if notice is None:
        return Notice(now), happened
    counted = together(notice.counted, happened)
    if is_due(notice.last_sent_at, now):
        return Notice(now), counted
    return replace(notice, counted=counted), None


def when_due(notice: Notice, now: float) -> tuple[Notice | None, Counted | None]:
    """Return the notice after its ten minutes, None where it ends, and what is to be reported."""
    if notice.counted is None:
        return None, None
    return Notice(now), notice.counted


def after_renaming(old: Notice, new: Notice | None, name: str) -> Notice:
    """Return the notice of a subject that takes over what was counted for another one.

    Nothing is reported earlier for that: the later one's ten minutes count.
    """
    counted = None if old.counted is None else replace(old.counted, subject=name)
    if new is None:
        return Notice(old.last_sent_at, counted)
    if counted is None:
        counted = new.counted
    elif new.counted is not None:
        counted = together(counted, new.counted)
    return Notice(max(old.last_sent_at, new.last_sent_at), counted)
