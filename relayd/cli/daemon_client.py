"""Asks the running daemon, and ends the command where it refuses or does not answer."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from relayd.config.sections import QueueConfig
from relayd.control import DaemonConnection, NoDaemonError, connected
from relayd.permissions import user_name


class DaemonClient:
    """The daemon, as a command asks it."""

    def __init__(self, connection: DaemonConnection) -> None:
        self._connection = connection

    def ask(self, command: str, *, timeout_s: float = 30.0, **arguments: object) -> dict[str, Any]:
        """Return the daemon's answer; end the command where it refuses, or does not answer."""
        answer = self.answer(command, timeout_s=timeout_s, **arguments)
        if not answer.get("ok"):
            raise click.ClickException(str(answer.get("error", "relayd refused")))
        return answer

    def answer(
        self, command: str, *, timeout_s: float = 30.0, **arguments: object
    ) -> dict[str, Any]:
        """Return the daemon's answer, also a refusal; end the command where there is none."""
        request = {"command": command, **arguments}
        try:
            return self._connection.ask(request, timeout_s=timeout_s)
        except NoDaemonError as error:
            raise click.ClickException(str(error)) from error
        except TimeoutError as error:
            raise click.ClickException(
                f"relayd did not answer within {timeout_s:g} s; see its log"
            ) from error


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
        raise click.ClickException(
            f"this needs the running daemon, and {error}: is `relayd run` running?"
        ) from error
