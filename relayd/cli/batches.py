"""Has the daemon change many rows, with progress on a terminal."""

import sys
from collections.abc import Sequence

import click

from relayd.batched_change import CHANGE_TIMEOUT_S, ROWS_AT_ONCE, Change
from relayd.cli.daemon_client import DaemonClient


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
                for count, request in change.requests():
                    change.take(daemon.ask_for(request, timeout_s=CHANGE_TIMEOUT_S))
                    done += count
                    progress.update(count)
    except click.ClickException as error:
        raise click.ClickException(f"{error.message}{_how_far(done, total)}") from error
    except KeyboardInterrupt:
        raise click.ClickException(f"stopped{_how_far(done, total)}") from None


def _watched(total: int) -> bool:
    return total > ROWS_AT_ONCE and sys.stderr.isatty()


def _how_far(done: int, total: int) -> str:
    return f" after {done:,} of {total:,}; run the command again for the rest"
