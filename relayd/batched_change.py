"""A change of many rows as requests of the control socket: some rows at a time, so that deliveries go on."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

CHANGE_TIMEOUT_S: Final = 120.0
"""For one request: where 100 bodies have a MiB each, and the machine is slow."""

ROWS_AT_ONCE: Final = 500
_BODIES: Final = 100  # each of which the daemon reads


@dataclass(slots=True)
class Change:
    """Rows that one command is to change, and what came of it so far.

    `key` is the request's, under which the rows' numbers stand, `delivered` that what was delivered
    is meant, too. `wanted` holds the rows that a backfill is for, `held` the subscriptions for which
    what was changed is held, and by what, `lifted` those whose endpoints are no longer held back.
    """

    command: str
    key: str
    rows: Sequence[int]
    subscription: str = ""
    dry_run: bool = False
    delivered: bool = False
    changed: int = 0
    in_flight: int = 0
    wanted: list[int] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)
    lifted: set[str] = field(default_factory=set)

    @classmethod
    def backfill(
        cls, subscription: str, events: Sequence[int], *, dry_run: bool = False
    ) -> "Change":
        """Return the change that makes a subscription's deliveries of these events."""
        return cls("backfill", "events", events, subscription, dry_run)

    def requests(self) -> Iterator[tuple[int, dict[str, object]]]:
        """Yield each request, and how many rows it is about. What is answered is for `take`."""
        size = _BODIES if self.command == "backfill" else ROWS_AT_ONCE
        for start in range(0, len(self.rows), size):
            chunk = self.rows[start : start + size]
            request: dict[str, object] = {"command": self.command, self.key: list(chunk)}
            if self.subscription:
                request |= {"subscription": self.subscription, "dry_run": self.dry_run}
            if self.delivered:
                request["delivered"] = True
            yield len(chunk), request

    def take(self, answer: Mapping[str, Any]) -> None:
        """Note what the daemon answered to one of them."""
        self.changed += answer["changed"]
        self.in_flight += answer.get("in_flight", 0)
        self.wanted += answer.get("events", [])
        self.held |= answer.get("held", {})
        self.lifted.update(answer.get("lifted", ()))
