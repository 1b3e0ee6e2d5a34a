"""Asks the daemon whether what is on disk is in force, for commands that say so beside their own answer."""

import os
from pathlib import Path

import click

from relayd.cli.terminal import wrapped
from relayd.config.sections import QueueConfig
from relayd.control import DaemonConnection, NoDaemonError, RefusedByDaemonError, connected
from relayd.views.in_force import Answer, in_force_words

_TIMEOUT_S = 5.0


def ask_in_force(queue: QueueConfig, config_path: Path) -> Answer | None:
    """Return the daemon's answer; None where none answers, or it runs with another file than this one."""
    try:
        with connected(queue.control_path) as daemon:
            answer = in_force_of(daemon)
    except NoDaemonError:
        return None
    if answer is None or os.path.realpath(answer["config"]) != os.path.realpath(config_path):
        return None
    return answer


def in_force_of(daemon: DaemonConnection) -> Answer | None:
    """Return the answer of a daemon that is connected; None where it does not say (an older one)."""
    try:
        return daemon.ask({"command": "in_force"}, timeout_s=_TIMEOUT_S)
    except (NoDaemonError, RefusedByDaemonError, TimeoutError):
        return None


def note_in_force(answer: Answer | None) -> None:
    """Print on standard error what is not in force, and what to do; nothing where all is."""
    for sentence in in_force_words(answer):
        click.echo(wrapped(f"Note: {sentence}.", "  ", first=""), err=True)
