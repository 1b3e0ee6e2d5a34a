"""Has the daemon change many rows, some at a time, so that deliveries go on meanwhile."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import click

from relayd.cli.daemon_client import DaemonClient

_ROWS: Final = 500
_BODIES: Final = 100  # each of which the daemon reads
_TIMEOUT_S: Final = 120.0  # where 100 bodies have a MiB each, and the machine is slow


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


def apply_changes(daemon: DaemonClient, changes: Sequence[Change], label: str) -> None:
    """Make the changes, with progress on a terminal.

    Ends the command where the daemon stops answering, or at Ctrl-C, and says how far it came: what
    was changed stays so, and the command given again does the rest.
    """
    total = sum(len(change.rows) for change in changes)
    done = 0
    try:
        with click.progressbar(
            length=total, label=label, file=sys.stderr, hidden=not _watched(total)
        ) as progress:
            for change in changes:
                size = _BODIES if change.command == "backfill" else _ROWS
                for start in range(0, len(change.rows), size):
                    chunk = change.rows[start : start + size]
                    _run_chunk(daemon, change, chunk)
                    done += len(chunk)
                    progress.update(len(chunk))
    except click.ClickException as error:
        raise click.ClickException(f"{error.message}{_how_far(done, total)}") from error
    except KeyboardInterrupt:
        raise click.ClickException(f"stopped{_how_far(done, total)}") from None


def _run_chunk(daemon: DaemonClient, change: Change, chunk: Sequence[int]) -> None:
    arguments: dict[str, object] = {change.key: list(chunk)}
    if change.subscription:
        arguments |= {"subscription": change.subscription, "dry_run": change.dry_run}
    if change.delivered:
        arguments["delivered"] = True
    answer = daemon.ask(change.command, timeout_s=_TIMEOUT_S, **arguments)
    change.changed += answer["changed"]
    change.in_flight += answer.get("in_flight", 0)
    change.wanted += answer.get("events", [])
    change.held |= answer.get("held", {})
    change.lifted.update(answer.get("lifted", ()))


def _watched(total: int) -> bool:
    return total > _ROWS and sys.stderr.isatty()


def _how_far(done: int, total: int) -> str:
    return f" after {done:,} of {total:,}; run the command again for the rest"
