"""Asks the running daemon, and ends the command where it refuses or does not answer."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final, NoReturn

import click

from relayd.cli import WRONG_CONFIGURATION
from relayd.cli.daemon_elsewhere import daemon_elsewhere
from relayd.config.sections import QueueConfig
from relayd.control import DaemonConnection, NoDaemonError, RefusedByDaemonError, connected
from relayd.permissions import user_name

RELOAD_TIMEOUT_S: Final = 240.0
"""More than the daemon gives the reading of the file: it says what came of it."""


class DaemonClient:
    """The daemon, as a command asks it."""

    def __init__(self, connection: DaemonConnection) -> None:
        self._connection = connection

    def ask(self, command: str, *, timeout_s: float = 30.0, **arguments: object) -> dict[str, Any]:
        """Return the daemon's answer; end the command where it refuses, or does not answer."""
        answer = self.answer(command, timeout_s=timeout_s, **arguments)
        if not answer.get("ok"):
            raise click.ClickException(str(RefusedByDaemonError(answer)))
        return answer

    def answer(
        self, command: str, *, timeout_s: float = 30.0, **arguments: object
    ) -> dict[str, Any]:
        """Return the daemon's answer, also a refusal; end the command where there is none."""
        request = {"command": command, **arguments}
        try:
            return self._connection.answer(request, timeout_s=timeout_s)
        except NoDaemonError as error:
            raise click.ClickException(str(error)) from error
        except TimeoutError as error:
            raise click.ClickException(
                f"relayd did not answer within {timeout_s:g} s; see its log"
            ) from error


def end_refused(answer: Mapping[str, Any], *, tell: bool = True) -> NoReturn:
    """End the command because of a refusal: 78 where the configuration is at fault, otherwise 1."""
    refused = RefusedByDaemonError(answer)
    for problem in refused.problems if tell else ():
        click.echo(problem, err=True)
    sys.exit(WRONG_CONFIGURATION if refused.code == "configuration" else 1)


@contextmanager
def running_daemon(queue: QueueConfig) -> Iterator[DaemonClient]:
    """Connect to the daemon of a queue; end the command where none runs."""
    try:
        with connected(queue.control_path) as connection:
            yield DaemonClient(connection)
    except NoDaemonError as error:
        if error.refused:
            raise click.ClickException(
                f"user {user_name()} may not use {queue.control_path}; use sudo, or relayd's user"
            ) from error
        elsewhere = daemon_elsewhere(queue)
        raise click.ClickException(
            elsewhere or f"this needs the running daemon, and {error}: is `relayd run` running?"
        ) from error
