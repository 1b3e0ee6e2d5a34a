"""The daemon's control socket: what the operator's commands ask of the running process.

One JSON object a line, answered by one. The socket lies beside the queue, for its owner alone.
"""

import json
import socket
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from relayd.core.absence import Absence
from relayd.core.framing import TooLong
from relayd.permissions import peer_uid

MODE = 0o600
LINE_BYTES = 4 * 1024 * 1024
"""A rejected event of the largest size can be mended, whatever is escaped in it."""

CONNECTIONS: Final = 64
"""Places for all. An operator always gets in: an idle connection makes room, and of those that wait
for their answer, no more than `WAITING` do so."""

WAITING: Final = 56
WAITING_FOR_ONE: Final = 24
"""So many requests may wait for their answers, and so many for that of one command; of `QUICK`, any
number."""

QUICK: Final = frozenset({"status"})
"""Commands that wait for nothing: neither for the queue nor for another command."""

_READ_BYTES: Final = 65_536

Command = Callable[[Mapping[str, Any]], Awaitable[dict[str, object]]]
"""Answers one request; the request's other keys are its arguments."""


class NoDaemonError(Exception):
    """Nobody answers on the control socket."""

    def __init__(self, reason: str, absence: Absence) -> None:
        super().__init__(reason)
        self.absence = absence


class RefusedByDaemonError(Exception):
    """The daemon answered that it does not do it. `answer` is what it said, `code` for programs."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        self.answer = answer
        self.code = str(answer.get("code", ""))
        problems = answer.get("problems") or [answer.get("error", "relayd refused")]
        self.problems = [str(problem) for problem in problems]
        """Why, in words, a line each."""
        super().__init__("; ".join(self.problems))


class ControlLines:
    """Answers control lines with the commands that it was given, by name."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands
        self._waiting: Counter[str] = Counter()

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
        assert isinstance(name, str)
        if name in QUICK:
            return await command(request)
        if self._waiting[name] >= WAITING_FOR_ONE or self._waiting.total() >= WAITING:
            reason = f"{self._waiting.total()} commands are waiting for their answers; try again"
            return {"ok": False, "code": "busy", "error": reason}
        self._waiting[name] += 1
        try:
            return await command(request)
        finally:
            self._waiting[name] -= 1


class DaemonConnection:
    """A command's connection to the daemon. Blocks: such a process has nothing else to do."""

    def __init__(self, connected: socket.socket) -> None:
        self._socket = connected
        self._received = bytearray()
        self.uid = peer_uid(connected.getsockopt)
        """The user who listens there."""

    def ask(
        self,
        request: Mapping[str, object],
        *,
        timeout_s: float = 30.0,
        most_bytes: int | None = None,
    ) -> dict[str, Any]:
        """Send one request, and return the answer that it was done.

        Raises `RefusedByDaemonError` for any other, and what `answer` raises.
        """
        answer = self.answer(request, timeout_s=timeout_s, most_bytes=most_bytes)
        if not answer.get("ok"):
            raise RefusedByDaemonError(answer)
        return answer

    def answer(
        self,
        request: Mapping[str, object],
        *,
        timeout_s: float = 30.0,
        most_bytes: int | None = None,
    ) -> dict[str, Any]:
        """Send one request, and return its answer, also a refusal.

        Raises `NoDaemonError` when the daemon ends before it answers, or what answers is not relayd,
        and `TimeoutError` when it takes longer than `timeout_s` in all; the connection cannot be used
        any more then.
        """
        try:
            line = self._line(json.dumps(request).encode() + b"\n", timeout_s, most_bytes)
        except TimeoutError:
            raise
        except OSError:
            line = b""
        if not line:
            raise NoDaemonError("relayd ended before it answered", Absence.NOT_ANSWERING)
        try:
            answer = json.loads(line)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict):
            raise _not_relayd()
        return answer

    def _line(self, request: bytes, timeout_s: float, most_bytes: int | None) -> bytes:
        """Send a line, and return the one that comes; nothing where the other end closes before."""
        deadline = time.monotonic() + timeout_s
        self._socket.settimeout(timeout_s)
        self._socket.sendall(request)
        received = self._received
        while b"\n" not in received[-_READ_BYTES:]:
            if (left_s := deadline - time.monotonic()) <= 0:
                raise TimeoutError
            self._socket.settimeout(left_s)
            if not (part := self._socket.recv(_READ_BYTES)):
                return b""
            received += part
            if most_bytes is not None and len(received) > most_bytes:
                raise _not_relayd()
        line, _, rest = received.partition(b"\n")
        self._received = rest
        return bytes(line)

    def hang_up(self) -> None:
        """End a question that another thread waits for: it is answered that relayd ended. May be called by any thread."""
        with suppress(OSError):  # it is closed, or not connected any more
            self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()


def _not_relayd() -> NoDaemonError:
    return NoDaemonError("what answered is not relayd", Absence.NOT_ANSWERING)


def _absence(error: OSError) -> Absence:
    match error:
        case PermissionError():
            return Absence.NOT_PERMITTED
        case TimeoutError() | BlockingIOError():  # as many wait for it as the kernel lets
            return Absence.NOT_ANSWERING
        case _:
            return Absence.NOT_RUNNING


@contextmanager
def connected(path: Path, *, wait_s: float = 5.0) -> Iterator[DaemonConnection]:
    """Connect to the daemon that listens at `path`. Raises `NoDaemonError`.

    `wait_s` is how long that may take; 0 does not wait at all.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        try:
            stream.settimeout(wait_s)
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
