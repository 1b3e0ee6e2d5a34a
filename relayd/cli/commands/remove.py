"""`remove`: removes a subscription that `add` wrote, and says what becomes of its backlog."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from relayd.cli.daemon_client import RELOAD_TIMEOUT_S, DaemonClient, daemon_if_running, refusal
from relayd.cli.options import complete_subscriptions, config_option, json_option, yes_option
from relayd.cli.queue_reader import reading_queue
from relayd.cli.terminal import confirm, print_json, wrapped
from relayd.config.queue_place import queue_place
from relayd.config.sections import QueueConfig
from relayd.core.delivery import BACKLOG
from relayd.views.counts import deliveries_in_words
from relayd.views.subscription_changes import removed_document


@click.command(
    short_help="Remove a subscription that was added.",
    epilog="""\b
Example:
  relayd remove shop
""",
)
@click.argument("name", metavar="NAME", shell_complete=complete_subscriptions)
@yes_option
@json_option
@config_option
def remove(name: str, yes: bool, as_json: bool, config_path: Path) -> None:
    """Remove the file of a subscription that `relayd add` wrote, with its secret if that is in it.

    Its history is kept. A backlog is held from then on: the command asks first, and says how to end it
    or hand it over. While the daemon runs, it reloads; other changes of the configuration that were not
    reloaded yet come into force, too.
    """
    found = _found(config_path, name)
    if found["waiting"]:
        confirm(_question(found["file"], found["waiting"]), yes=yes)
    answer, running = _remove(config_path, name, Path(found["file"]), found["waiting"])
    if as_json:
        print_json(removed_document({**answer, "subscription": name}, in_force=running))
        return
    click.echo(wrapped(f"{name} removed: {answer['file']}"))
    for change in answer["changes"]:
        if not change.startswith(f"subscription {name}: removed"):
            click.echo(wrapped(change, "    ", first="  "))
    if not running:
        click.echo("relayd is not running; it is out of force from the next start on.")
    if answer["waiting"]:
        one = answer["waiting"] == 1
        them = "it" if one else "them"
        click.echo(f"{deliveries_in_words(answer['waiting'])} {'is' if one else 'are'} held:")
        for command, does in (
            (f"relayd cancel {name}", f"ends {them}"),
            (f"relayd rename {name} NEW", f"hands {them} over to a subscription NEW"),
        ):
            click.echo(f"  {command:36}# {does}")
        goes_on = "It goes on" if one else "They go on"
        click.echo(wrapped(f"{goes_on} when there is a subscription {name} again."))


def _question(file: object, waiting: int) -> str:
    held = f", and hold its {deliveries_in_words(waiting)}" if waiting else ""
    return f"Remove {file}{held}?"


def _found(config_path: Path, name: str) -> Mapping[str, Any]:
    """Return the file of the subscription and how many deliveries wait, and change nothing."""
    queue = queue_place(config_path)
    with daemon_if_running(queue) as daemon:
        if isinstance(daemon, DaemonClient):
            return daemon.ask("remove", timeout_s=RELOAD_TIMEOUT_S, subscription=name, check=True)
    # Loaded where it is needed: with a daemon, nothing of it is.
    from relayd.cli.offline_subscriptions import file_to_remove  # noqa: PLC0415 - see above

    return {"file": str(file_to_remove(config_path, name)), "waiting": _waiting(queue, name)}


def _remove(
    config_path: Path, name: str, path: Path, waiting: int
) -> tuple[Mapping[str, Any], bool]:
    """Return what was done, and whether it is in force; end the command where it is refused.

    The question may have waited for hours: a daemon may have been started or stopped since.
    """
    with daemon_if_running(queue_place(config_path)) as daemon:
        if isinstance(daemon, DaemonClient):
            answer = daemon.answer("remove", timeout_s=RELOAD_TIMEOUT_S, subscription=name)
            if not answer.get("ok"):
                raise refusal(answer)
            return answer, True
    from relayd.cli.offline_subscriptions import (  # noqa: PLC0415 - as above
        reload_if_running,
        remove_offline,
    )

    remove_offline(config_path, name, path)
    removed = {"file": str(path), "waiting": waiting, "changes": [], "warnings": []}
    reloaded = reload_if_running(config_path, "removed")
    return (removed, False) if reloaded is None else ({**removed, **reloaded}, True)


def _waiting(queue: QueueConfig, name: str) -> int:
    """Return how many deliveries of a subscription wait; none where there is no queue yet."""
    from relayd.queue.delivery_filter import DeliveryFilter  # noqa: PLC0415 - as above

    if not os.path.lexists(queue.path):
        return 0
    with reading_queue(queue) as reading:
        if name not in reading.subscriptions:
            return 0
        return len(reading.select(DeliveryFilter((name,), frozenset(BACKLOG)), None))
