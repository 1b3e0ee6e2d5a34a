"""Asks the daemon whether what is on disk is in force, for commands that say so beside their own answer."""

import os
from pathlib import Path

import click

from relayd.cli.daemon_client import why_no_answer
from relayd.cli.terminal import wrapped
from relayd.config.sections import QueueConfig
from relayd.control import DaemonConnection, NoDaemonError, RefusedByDaemonError, connected
from relayd.core.absence import Absence
from relayd.views.in_force import Answer, in_force_words

_TIMEOUT_S = 5.0


def ask_in_force(queue: QueueConfig, config_path: Path) -> Answer | None:
    """Return the daemon's answer; None where there is none, with a note of why, unless relayd does not run."""
    try:
        with connected(queue.control_path) as daemon:
            answer, why = in_force_of(daemon, config_path)
    except NoDaemonError as error:
        if error.absence is Absence.NOT_RUNNING:
            return None
        answer, why = None, why_no_answer(error.absence, queue)
    if why is not None:
        click.echo(wrapped(unknown_note(why), "  ", first=""), err=True)
    return answer


def in_force_of(daemon: DaemonConnection, config_path: Path) -> tuple[Answer | None, str | None]:
    """Return the answer of a daemon that is connected; or None, and why it is not known.

    The answer has `other_file` where the daemon runs with another file than `config_path`.
    """
    try:
        answer = daemon.ask({"command": "in_force"}, timeout_s=_TIMEOUT_S)
    except TimeoutError:
        return None, f"relayd did not answer within {_TIMEOUT_S:g} s; see its log"
    except NoDaemonError as error:
        return None, str(error)
    except RefusedByDaemonError as refused:
        # An older daemon does not know the command.
        older = refused.code == ""
        return None, "relayd is of an older version; restart it" if older else str(refused)
    file = os.path.realpath(config_path)
    if os.path.realpath(answer["config"]) != file:
        answer["other_file"] = file
    return answer, None


def unknown_note(why: str) -> str:
    """Return the note that it is not known whether the file is in force."""
    return f"Note: not known whether this file is what is in force: {why}."


def note_in_force(answer: Answer | None) -> None:
    """Print on standard error what is not in force, and what to do; nothing where all is."""
    for sentence in in_force_words(answer):
        click.echo(wrapped(f"Note: {sentence}.", "  ", first=""), err=True)
