"""Say what a reload would change, what waits included, without changing anything."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from relayd.commands.requests import Answer, RefusedError, Request, text_of
from relayd.config.config import Config
from relayd.config.difference import Difference, difference_in_parts
from relayd.config.problem import ConfigError
from relayd.config_loader import ConfigLoader, NotReadError
from relayd.core.hold import Hold, Holds, after_declaring
from relayd.core.subscription import Subscription
from relayd.pacing import paced
from relayd.queue.interface import QueueWriter
from relayd.queue.values import Waiting

Then = Literal["hold", "stay_held", "go_on", "follow", "stay"]
"""What becomes of a backlog: it is held from now on, or still; goes on after a hold; follows what is
new; or is not touched by it."""

_TURN_S: Final = 3.0
"""So long a reload that is under way is waited for: whoever asks should hear of it soon."""

_NOT_FOR_THE_BACKLOG: Final = frozenset({"events", "where", "feed_token"})


class DifferenceCommand:
    """Compares a file with the configuration that the daemon runs with."""

    def __init__(self, config: Config, queue: QueueWriter, loader: ConfigLoader) -> None:
        self.config = config
        self._queue = queue
        self._loader = loader

    async def difference(self, request: Request) -> Answer:
        """Compare with the file `config`, read with the daemon's rights and environment.

        A file that a reload would refuse is answered as `reload` does.
        """
        path = Path(text_of(request, "config"))
        try:
            new = await self._loader.load(path, self.config, turn_within_s=_TURN_S)
        except ConfigError as error:
            problems = [str(problem) for problem in error.problems]
            return {"ok": False, "code": "configuration", "problems": problems}
        except NotReadError as error:
            raise RefusedError("failed", str(error)) from None
        old = self.config
        found = await paced(difference_in_parts(old, new))
        changes = found.subscriptions
        names = (*changes.added, *changes.removed, *changes.changed)
        waiting = await self._queue.looks.waiting(names)
        return {
            "config": str(old.path),
            "changes": found.lines(),
            "advice": advice(found, waiting, new),
            "needs_restart": list(found.needs_restart),
            "deliveries": [
                {
                    "subscription": name,
                    "waiting": each.count,
                    "then": what_becomes(name, each, found, new),
                }
                for name in names
                if (each := waiting.get(name)) is not None and each.count
            ],
        }


def what_becomes(name: str, waiting: Waiting, found: Difference, new: Config) -> Then:
    """Return what becomes of a changed subscription's backlog."""
    keys = found.subscriptions.changed.get(name, ())
    if _holds_after(waiting, new.subscriptions.get(name)):
        return "stay_held" if waiting.holds else "hold"
    if waiting.holds:
        return "go_on"
    return "stay" if _NOT_FOR_THE_BACKLOG.issuperset(keys) else "follow"


def _holds_after(waiting: Waiting, subscription: Subscription | None) -> Holds:
    if subscription is None:
        return after_declaring(waiting.holds, active=None, moved=False)
    moved = waiting.url != subscription.url
    return after_declaring(waiting.holds, active=subscription.active, moved=moved)


def advice(found: Difference, waiting: Mapping[str, Waiting], new: Config) -> dict[str, str]:
    """Return what to do about what is held after the change, by the subscriptions' names.

    `waiting` is as it is before it.
    """
    advised = {}
    for name in found.subscriptions.added:
        each = waiting.get(name)
        if each is None:
            continue
        holds = _holds_after(each, new.subscriptions[name])
        if Hold.PAUSED in holds:
            advised[name] = f"it is still paused: `relayd resume {name}` resumes it"
        elif Hold.GONE in holds:
            advised[name] = f"its receiver answered 410 Gone: `relayd resume {name}` resumes it"
    for name in found.subscriptions.removed:
        each = waiting.get(name)
        if each is not None and each.count:
            successor = _successor(each, found, new)
            advised[name] = f"`relayd rename {name} {successor}` hands it over to another name"
    return advised


def _successor(waiting: Waiting, found: Difference, new: Config) -> str:
    """Return the one added subscription with the same URL, which is surely the new name."""
    added = found.subscriptions.added
    same = [name for name in added if new.subscriptions[name].url == waiting.url]
    return same[0] if len(same) == 1 else "NEW"
