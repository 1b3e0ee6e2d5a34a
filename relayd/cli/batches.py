"""Has the daemon change many rows, some at a time: what is delivered meanwhile waits for none."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import click

from relayd.cli.daemon_client import Asking

_ROWS: Final = 500
_BODIES: Final = 100  # each of which the daemon reads
_TIMEOUT_S: Final = 120.0  # where 100 bodies have a MiB each, and the machine is slow


@dataclass(slots=True)
class Errand:
    """Rows to have changed by one command, and what came of it so far.

    `key` is the request's, under which the rows' numbers stand. `wanted` holds those that a
    backfill is for, `held` the subscriptions for which what was changed is held, and by what.
    """

    command: str
    key: str
    rows: Sequence[int]
    subscription: str = ""
    dry_run: bool = False
    changed: int = 0
    in_flight: int = 0
    wanted: list[int] = field(default_factory=list)
    held: dict[str, str] = field(default_factory=dict)

    @classmethod
    def backfill(
        cls, subscription: str, events: Sequence[int], *, dry_run: bool = False
    ) -> "Errand":
        """Return the errand to make a subscription's deliveries of these events."""
        return cls("backfill", "events", events, subscription, dry_run)


def run_errands(daemon: Asking, errands: Sequence[Errand], label: str) -> None:
    """Run the errands, with progress on a terminal.

    Ends the command where the daemon stops answering, or at Ctrl-C, and says how far it came: what
    was changed stays so, and the command given again does the rest.
    """
    total = sum(len(errand.rows) for errand in errands)
    done = 0
    try:
        with click.progressbar(
            length=total, label=label, file=sys.stderr, hidden=not _watched(total)
        ) as progress:
            for errand in errands:
                size = _BODIES if errand.command == "backfill" else _ROWS
                for start in range(0, len(errand.rows), size):
                    chunk = errand.rows[start : start + size]
                    _run_chunk(daemon, errand, chunk)
                    done += len(chunk)
                    progress.update(len(chunk))
    except click.ClickException as error:
        raise click.ClickException(f"{error.message}{_how_far(done, total)}") from error
    except KeyboardInterrupt:
        raise click.ClickException(f"stopped{_how_far(done, total)}") from None


def _run_chunk(daemon: Asking, errand: Errand, chunk: Sequence[int]) -> None:
    arguments: dict[str, object] = {errand.key: list(chunk)}
    if errand.subscription:
        arguments |= {"subscription": errand.subscription, "dry_run": errand.dry_run}
    answer = daemon.ask(errand.command, timeout_s=_TIMEOUT_S, **arguments)
    errand.changed += answer["changed"]
    errand.in_flight += answer.get("in_flight", 0)
    errand.wanted += answer.get("events", [])
    errand.held |= answer.get("held", {})


def _watched(total: int) -> bool:
    return total > _ROWS and sys.stderr.isatty()


def _how_far(done: int, total: int) -> str:
    return f" after {done:,} of {total:,}; run the command again for the rest"
