"""`rename`: hands a subscription's backlog and history over to its new name in the file."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

import click

from relayd.cli.command_error import CommandError
from relayd.cli.daemon_client import running_daemon
from relayd.cli.options import complete_subscriptions, config_option, json_option
from relayd.cli.terminal import print_json, printable, wrapped
from relayd.config.queue_place import queue_place
from relayd.core.hold import Hold
from relayd.views.counts import deliveries_in_words
from relayd.views.holds import RENAMED_HOLDS
from relayd.views.moments import clock_time

_TIMEOUT_S: Final = 3_600.0
"""The daemon may read the file first, and waits for attempts under way; ten million deliveries take minutes."""


@dataclass(frozen=True, slots=True)
class _Done:
    """What the daemon did: see `commands.rename`."""

    changes: Sequence[str]
    moved: int
    waiting: int
    released: int
    kept: int
    in_flight: int
    hold: str | None
    held_until: float | None


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
        done = _done(daemon.ask("rename", timeout_s=_TIMEOUT_S, old=old, new=new))
    if as_json:
        shown = asdict(done)
        del shown["held_until"]
        print_json(shown)
        return
    for change in done.changes:
        click.echo(printable(change))
    for line in _lines(old, new, done):
        click.echo(wrapped(line))


def _done(answer: Mapping[str, Any]) -> _Done:
    if "changes" not in answer:
        raise CommandError(
            "the daemon that runs is of an older relayd, which hands over a part at a time: restart it, and run"
            " the command again",
            code="older_daemon",
        )
    return _Done(**{field.name: answer[field.name] for field in fields(_Done)})


def _lines(old: str, new: str, done: _Done) -> list[str]:
    lines = [f"{old} had no deliveries to hand over."]
    if done.moved:
        moved = f"{deliveries_in_words(done.moved)} of {old} handed over to {new}"
        lines = [f"{moved}; {done.waiting:,} of them pending."]
    if done.released:
        when = "attempted now, beside the schedule"
        if done.hold is not None:
            when = "and held"
        elif done.held_until is not None:
            when = f"held back until {clock_time(done.held_until)} (429 or 503)"
        retries = "retry" if done.released == 1 else "retries"
        lines.append(f"{done.released:,} {retries} released: {when}.")
    if done.kept:
        lines.append(
            f"{deliveries_in_words(done.kept)} {'stays' if done.kept == 1 else 'stay'} with {old}, since {new} has one of the same"
            " event."
        )
    if done.in_flight:
        are, them = ("is", "it") if done.in_flight == 1 else ("are", "them")
        lines.append(
            f"{deliveries_in_words(done.in_flight)} {are} being attempted: run the command again"
            f" for {them}."
        )
    if done.hold == Hold.PAUSED:
        lines.append(f"{new} is paused; `relayd resume {new}` resumes it.")
    elif done.hold is not None:
        lines.append(f"{new} is held: {RENAMED_HOLDS[Hold(done.hold)]}.")
    return lines
