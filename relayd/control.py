"""The daemon's control socket: what the operator's commands ask of the running process.

One JSON object a line, answered by one. The socket lies beside the queue, for its owner alone.
"""

import json
import socket
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relayd.core.absence import Absence
from relayd.core.framing import TooLong

MODE = 0o600
LINE_BYTES = 4 * 1024 * 1024
"""A rejected event of the largest size can be mended, whatever is escaped in it."""

Command = Callable[[Mapping[str, Any]], Awaitable[dict[str, object]]]
"""Answers one request; the request's other keys are its arguments."""


class NoDaemonError(Exception):
    """Nobody answers on the control socket."""

    def __init__(self, reason: str, absence: Absence) -> None:
        super().__init__(reason)
        self.absence = absence


class ControlLines:
    """Answers control lines with the commands that it was given, by name."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands

    async def answer(self, lines: Sequence[bytes | TooLong], _uid: int) -> list[dict[str, object]]:
        """Answer each line, one after the other."""
        return [await self._one(line) for line in lines]

    async def _one(self, line: bytes | TooLong) -> dict[str, object]:
        if isinstance(line, TooLong):
            return {"ok": False, "error": "the line is too long"}
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"ok": False, "error": "the line is not valid JSON"}
        name = request.get("command") if isinstance(request, dict) else None
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            return {"ok": False, "error": f"the commands are {', '.join(self._commands)}"}
        return await command(request)


class DaemonConnection:
    """A command's connection to the daemon. Blocks: such a process has nothing else to do."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._lines = connected.makefile("rb")

    def ask(self, request: Mapping[str, object], *, timeout_s: float = 30.0) -> dict[str, Any]:
        """Send one request, and return its answer.

        Raises `NoDaemonError` when the daemon ends before it answers, `TimeoutError` when it takes
        longer than `timeout_s`; the connection cannot be used any more then.
        """
        self._socket.settimeout(timeout_s)
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
            line = self._lines.readline()
        except TimeoutError:
            raise
        except OSError:
            line = b""
        if not line.endswith(b"\n"):
            raise NoDaemonError("relayd ended before it answered", Absence.NOT_ANSWERING)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Close the connection."""
        self._lines.close()
        self._socket.close()


def _absence(error: OSError) -> Absence:
    match error:
        case PermissionError():
            return Absence.NOT_PERMITTED
        case TimeoutError() | BlockingIOError():  # as many wait for it as the kernel lets
            return Absence.NOT_ANSWERING
        case _:
            return Absence.NOT_RUNNING


@contextmanager
def connected(path: Path) -> Iterator[DaemonConnection]:
    """Connect to the daemon that listens at `path`. Raises `NoDaemonError`."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        try:
            stream.settimeout(5.0)
            stream.connect(str(path))
        except OSError as error:
            raise NoDaemonError(
                f"relayd does not answer at {path} ({error.strerror or error})",
                _absence(error),
            ) from error
        connection = DaemonConnection(stream)
        try:
            yield connection
        finally:
            connection.close()
