"""`pause` and `resume`: hold a subscription's deliveries until further notice."""

from pathlib import Path
from typing import Any

import click

from relayd.cli.daemon_client import running_daemon
from relayd.cli.options import complete_subscriptions, config_option, json_option
from relayd.cli.terminal import print_json, wrapped
from relayd.config.queue_place import queue_place
from relayd.views.hold_changes import paused_words, resumed_words
from relayd.views.subscription_changes import held_document

_names = click.argument(
    "subscriptions",
    nargs=-1,
    required=True,
    metavar="SUBSCRIPTION...",
    shell_complete=complete_subscriptions,
)


@click.command(
    short_help="Hold a subscription's deliveries.",
    epilog="""\b
Example:
  relayd pause bookkeeping
""",
)
@_names
@json_option
@config_option
def pause(subscriptions: tuple[str, ...], as_json: bool, config_path: Path) -> None:
    """Hold a subscription's deliveries until `relayd resume`.

    New events are still accepted for it, and held with the others. Attempts in flight finish.
    """
    for name, answer in _ask_each("pause", subscriptions, config_path, as_json=as_json).items():
        click.echo(wrapped(paused_words(name, answer)))


@click.command(
    short_help="Resume a held subscription.",
    epilog="""\b
Example:
  relayd resume bookkeeping
""",
)
@_names
@json_option
@config_option
def resume(subscriptions: tuple[str, ...], as_json: bool, config_path: Path) -> None:
    """Resume a subscription that was paused, or whose receiver answered 410 Gone.

    Each of its pending retries gets an attempt now, in addition to its schedule, and a hold by 429
    or 503 ends. All attempts are made within the rate limit.
    """
    for name, answer in _ask_each("resume", subscriptions, config_path, as_json=as_json).items():
        for number, words in enumerate(resumed_words(name, answer)):
            click.echo(wrapped(words, first="  " if number else ""))


def _ask_each(
    command: str, names: tuple[str, ...], config_path: Path, *, as_json: bool
) -> dict[str, Any]:
    """Ask for each name; print the answers as JSON, and return none, where that is wanted."""
    with running_daemon(queue_place(config_path)) as daemon:
        answers = {name: daemon.ask(command, subscription=name) for name in names}
    if not as_json:
        return answers
    print_json({"subscriptions": [held_document(name, answer) for name, answer in answers.items()]})
    return {}
