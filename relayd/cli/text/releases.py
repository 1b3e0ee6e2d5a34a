"""What `retry` released, and what comes next, in words for people."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from relayd.core.hold import Hold
from relayd.views.counts import deliveries_in_words
from relayd.views.holds import HOLD_ADVICE


@dataclass(frozen=True, slots=True)
class Backlog:
    """One subscription's part of what is retried.

    Of `count` deliveries, `due` need no release, `behind` wait for others in their order, and an attempt
    of `in_flight` is under way. `first` is the one whose turn it is, where one of them alone is behind it;
    `blocked` that this one is exhausted. Of a whole backlog, `blocking` exhausted ones hold others.
    """

    count: int
    behind: int = 0
    due: int = 0
    in_flight: int = 0
    first: str | None = None
    blocked: bool = False
    blocking: int = 0


HOLD_BACK_LIFTED: Final = "its endpoint was held back (429 or 503); that is lifted"


def next_words(name: str, each: Backlog, whole: Mapping[str, int], held: Mapping[str, str]) -> str:
    """Return what was released of a subscription, and what comes next.

    `whole` has how many retries were released of each whole backlog, `held` what holds a subscription.
    """
    if name in whole:
        released = whole[name]
        due = max(0, each.count - each.behind - released)
    else:  # single ones: the daemon counts those of all subscriptions together
        released, due = each.count - each.behind - each.due, each.due
    if name in held:
        advice = HOLD_ADVICE[Hold(held[name])].format(name=name)
        return f"{name}: {_held_words(each.count, released)}: {advice}."
    return f"{name}: {'; '.join(_parts(name, each, released, due))}."


def _held_words(count: int, released: int) -> str:
    """Return what is held, and how many of these will not wait for their times when the hold ends."""
    if released >= count:
        return f"{deliveries_in_words(count)} released, but held"
    if not released:
        return f"{deliveries_in_words(count)} held"
    return f"{deliveries_in_words(count)} held, {released:,} of them released from their schedule"


def _parts(name: str, each: Backlog, released: int, due: int) -> Iterator[str]:
    if released:
        yield f"{deliveries_in_words(released)} released"
    if due:
        yield f"{deliveries_in_words(due)} due already"
    if each.in_flight:
        yield f"an attempt of {each.in_flight:,} is in flight"
    elif released == 1 and not due:
        yield "its attempt starts now"
    elif released:
        yield "the next attempt starts now, the others follow within the rate limit"
    elif due:
        yield "sent within the rate limit; `relayd status` shows how far"
    yield from _behind(name, each)


def _behind(name: str, each: Backlog) -> Iterator[str]:
    if each.behind == 1 and each.first is not None and each.blocked:
        yield (
            f"its turn comes after {each.first}, which is exhausted: `relayd replay {each.first}`"
            f" sends that again, `relayd cancel {each.first}` gives it up"
        )
    elif each.behind == 1 and each.first is not None:
        yield f"its turn comes after {each.first}: `relayd explain {each.first}`"
    elif each.behind:
        yield f"{each.behind:,} behind others in their order, each sent in its turn"
    if each.blocking:
        many = (
            "1 exhausted delivery holds"
            if each.blocking == 1
            else f"{each.blocking:,} exhausted ones hold"
        )
        yield (
            f"{many} some of them: `relayd replay {name}` sends what is exhausted again, `relayd cancel"
            " ID` gives one up"
        )
