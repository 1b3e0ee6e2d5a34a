"""Asks the running daemon, and ends the command where it refuses or does not answer."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from relayd.cli.command_error import CommandError, ConfigurationRefusedError
from relayd.cli.daemon_elsewhere import daemon_elsewhere
from relayd.config.sections import QueueConfig
from relayd.control import DaemonConnection, NoDaemonError, RefusedByDaemonError, connected
from relayd.core.absence import Absence
from relayd.permissions import user_name

RELOAD_TIMEOUT_S: Final = 240.0
"""More than the daemon gives the reading of the file: it says what came of it."""


class DaemonClient:
    """The daemon, as a command asks it."""

    def __init__(self, connection: DaemonConnection) -> None:
        self._connection = connection

    def ask(self, command: str, *, timeout_s: float = 30.0, **arguments: object) -> dict[str, Any]:
        """Return the daemon's answer; end the command where it refuses, or does not answer."""
        return self.ask_for({"command": command, **arguments}, timeout_s=timeout_s)

    def answer(
        self, command: str, *, timeout_s: float = 30.0, **arguments: object
    ) -> dict[str, Any]:
        """Return the daemon's answer, also a refusal; end the command where there is none."""
        return self._answer({"command": command, **arguments}, timeout_s)

    def ask_for(self, request: Mapping[str, object], *, timeout_s: float) -> dict[str, Any]:
        """Return the daemon's answer to a request, as `ask` does."""
        answer = self._answer(request, timeout_s)
        if not answer.get("ok"):
            raise refusal(answer)
        return answer

    def _answer(self, request: Mapping[str, object], timeout_s: float) -> dict[str, Any]:
        try:
            return self._connection.answer(request, timeout_s=timeout_s)
        except NoDaemonError as error:
            raise CommandError(str(error), code=error.absence) from error
        except TimeoutError as error:
            raise CommandError(
                f"relayd did not answer within {timeout_s:g} s; see its log",
                code=Absence.NOT_ANSWERING,
            ) from error


def refusal(answer: Mapping[str, Any]) -> CommandError:
    """Return the error that a daemon's refusal is: 78 where the configuration is at fault."""
    refused = RefusedByDaemonError(answer)
    if refused.code == "configuration":
        return ConfigurationRefusedError(refused.problems)
    problems = [str(each) for each in answer.get("problems", ())]
    return CommandError(str(refused), code=refused.code or "failed", problems=problems)


@contextmanager
def running_daemon(queue: QueueConfig) -> Iterator[DaemonClient]:
    """Connect to the daemon of a queue; end the command where none answers."""
    with daemon_if_running(queue) as daemon:
        if isinstance(daemon, NoDaemonError):
            raise CommandError(
                "this needs the running daemon, and nothing is listening at"
                f" {queue.control_path}: is `relayd run` running?",
                code=daemon.absence,
            ) from daemon
        yield daemon


@contextmanager
def daemon_if_running(queue: QueueConfig) -> Iterator[DaemonClient | NoDaemonError]:
    """Connect to the daemon of a queue; yield the error where none runs.

    End the command where that cannot be told, since this user may not ask, where one runs and does
    not answer, and where one runs with this file and another queue.
    """
    with ExitStack() as stack:
        try:
            daemon = DaemonClient(stack.enter_context(connected(queue.control_path)))
        except NoDaemonError as error:
            if error.absence is not Absence.NOT_RUNNING:
                raise CommandError(
                    why_no_answer(error.absence, queue), code=error.absence
                ) from error
            if (elsewhere := daemon_elsewhere(queue)) is not None:
                raise CommandError(elsewhere, code="another_queue") from error
            absent = error
        else:
            yield daemon
            return
    yield absent


def absence_of(queue: QueueConfig) -> Absence | None:
    """Return why no daemon of this queue answers, as far as connecting to it shows; None for one."""
    try:
        with connected(queue.control_path):
            return None
    except NoDaemonError as error:
        return error.absence


def why_no_answer(absence: Absence, queue: QueueConfig) -> str:
    """Say why no daemon answers this command, and what to do."""
    path = queue.control_path
    match absence:
        case Absence.NOT_PERMITTED:
            return (
                f"user {user_name()} may not ask the daemon at {path}; use sudo, or relayd's user"
            )
        case Absence.NOT_ANSWERING:
            return f"relayd runs, but does not answer at {path}; see its log"
        case Absence.NOT_RUNNING:
            return f"relayd is not running: nothing is listening at {path}"
