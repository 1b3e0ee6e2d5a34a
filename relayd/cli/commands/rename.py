"""`rename`: hands a subscription's backlog and history over to its new name in the file."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import click

from relayd.cli.daemon_client import RELOAD_TIMEOUT_S, DaemonClient, refusal, running_daemon
from relayd.cli.options import complete_subscriptions, config_option, json_option
from relayd.cli.terminal import deliveries_in_words, print_json, printable, wrapped
from relayd.config.queue_place import queue_place
from relayd.core.hold import Hold
from relayd.views.holds import RENAMED_HOLDS
from relayd.views.moments import clock_time

_PATIENCE_S: Final = 75.0
"""How long attempts under way are waited for: the longest may take 60 s."""

_PAUSE_S: Final = 0.25


@dataclass(slots=True)
class _Total:
    moved: int = 0
    waiting: int = 0
    released: int = 0
    kept: int = 0
    in_flight: int = 0
    hold: str | None = None
    held_until: float | None = None

    def add(self, step: Mapping[str, Any]) -> None:
        """Add what a step did."""
        self.moved += step["moved"]
        self.waiting += step["waiting"]
        self.released += step["released"]
        self.kept += step["kept"]
        self.in_flight += step["in_flight"]
        self.hold = step["hold"]
        self.held_until = step.get("held_until")  # an older relayd does not say


@click.command(
    short_help="Hand the backlog over to a subscription's new name.",
    epilog="""\b
Example:
  # after `bookkeeping:` became `books:` in the file
  relayd rename bookkeeping books
""",
)
@click.argument("old", shell_complete=complete_subscriptions)
@click.argument("new", shell_complete=complete_subscriptions)
@json_option
@config_option
def rename(old: str, new: str, as_json: bool, config_path: Path) -> None:
    """Move the deliveries of subscription OLD, pending and ended, to NEW.

    A backlog belongs to a subscription's name. Change the name in the file, then run this command:
    it reloads the file if that was not done yet. A pause moves too. An event that NEW has a
    delivery of already stays with OLD. The command can be run again at any time.
    """
    with running_daemon(queue_place(config_path)) as daemon:
        changes = _reload_where_needed(daemon, old, new)
        total = _hand_over(daemon, old, new)
    if as_json:
        print_json(
            {
                "changes": changes,
                "moved": total.moved,
                "waiting": total.waiting,
                "released": total.released,
                "kept": total.kept,
                "in_flight": total.in_flight,
                "hold": total.hold,
            }
        )
        return
    for change in changes:
        click.echo(printable(change))
    for line in _lines(old, new, total):
        click.echo(wrapped(line))


def _reload_where_needed(daemon: DaemonClient, old: str, new: str) -> list[str]:
    """Reload the file when NEW is in it and not in force yet; return what that changed."""
    answer = daemon.answer("rename", old=old, new=new, check=True)
    if answer.get("ok"):
        return []
    if answer.get("code") != "reload":
        raise refusal(answer)
    reloaded = daemon.answer("reload", timeout_s=RELOAD_TIMEOUT_S)
    if not reloaded.get("ok"):
        raise refusal(reloaded)
    return list(reloaded["changes"])


def _hand_over(daemon: DaemonClient, old: str, new: str) -> _Total:
    total = _Total()
    patience = time.monotonic() + _PATIENCE_S
    while True:
        total.kept = total.in_flight = 0
        after, end = 0, None
        while end is None or after < end:
            step: Mapping[str, Any] = daemon.ask("rename", old=old, new=new, after=after)
            total.add(step)
            # What is accepted meanwhile is not OLD's.
            after, end = step["through"], step["last"] if end is None else end
        if not total.in_flight or time.monotonic() > patience:
            return total
        # Their attempts end, and then they are looked at again.
        time.sleep(_PAUSE_S)


def _lines(old: str, new: str, total: _Total) -> list[str]:
    lines = [f"{old} had no deliveries to hand over."]
    if total.moved:
        moved = f"{deliveries_in_words(total.moved)} of {old} handed over to {new}"
        lines = [f"{moved}; {total.waiting:,} of them pending."]
    if total.released:
        when = "attempted now, beside the schedule"
        if total.hold is not None:
            when = "and held"
        elif total.held_until is not None:
            when = f"held back until {clock_time(total.held_until)} (429 or 503)"
        retries = "retry" if total.released == 1 else "retries"
        lines.append(f"{total.released:,} {retries} released: {when}.")
    if total.kept:
        lines.append(
            f"{deliveries_in_words(total.kept)} stay with {old}, since {new} has one of the same"
            " event."
        )
    if total.in_flight:
        lines.append(
            f"{deliveries_in_words(total.in_flight)} are being attempted: run the command again"
            " for them."
        )
    if total.hold == Hold.PAUSED:
        lines.append(f"{new} is paused; `relayd resume {new}` resumes it.")
    elif total.hold is not None:
        lines.append(f"{new} is held: {RENAMED_HOLDS[Hold(total.hold)]}.")
    return lines
