"""What a reload does to the backlog of subscriptions that come and go, and what to do about it."""

from collections.abc import Mapping
from typing import Final

from relayd.commands.difference import Then, advice, what_becomes
from relayd.config.config import Config
from relayd.config.difference import Difference
from relayd.queue.affected import Waiting

_NOW: Final[Mapping[Then, str]] = {
    "hold": "{count} held",
    "stay_held": "{count} still held",
    "go_on": "{count} no longer held",
}


def consequences(found: Difference, waiting: Mapping[str, Waiting], new: Config) -> dict[str, str]:
    """Return a note for each subscription that was added or removed, where there is one.

    `waiting` is as it was before the reload.
    """
    advised = advice(found, waiting, new)
    notes = {}
    for name in (*found.subscriptions.added, *found.subscriptions.removed):
        each = waiting.get(name)
        words = "" if each is None else _NOW.get(what_becomes(name, each, found, new), "")
        fact = (
            words.format(count=_deliveries(each.count)) if each is not None and each.count else ""
        )
        if note := "; ".join(filter(None, (fact, advised.get(name)))):
            notes[name] = note
    return notes


def _deliveries(count: int) -> str:
    return f"{count:,} waiting {'delivery' if count == 1 else 'deliveries'}"
