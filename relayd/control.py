"""The daemon's control socket: what the operator's commands ask of the running process.

One JSON object a line, answered by one. The socket lies beside the queue, for its owner alone.
"""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import trio

from relayd.core.framing import LineReader, TooLong

MODE = 0o600
LINE_BYTES = 1024 * 1024

Command = Callable[[Mapping[str, Any]], Awaitable[dict[str, object]]]
"""Answers one request; the request's other keys are its arguments."""


class NoDaemonError(Exception):
    """Nobody answers on the control socket."""


class ControlLines:
    """Answers control lines with the commands that it was given, by name."""

    def __init__(self, commands: Mapping[str, Command]) -> None:
        self._commands = commands

    async def answer(self, lines: Sequence[bytes | TooLong]) -> list[dict[str, object]]:
        """Answer each line, one after the other."""
        return [await self._one(line) for line in lines]

    async def _one(self, line: bytes | TooLong) -> dict[str, object]:
        if isinstance(line, TooLong):
            return {"ok": False, "error": "the line is too long"}
        try:
            request = json.loads(line)
        except (ValueError, RecursionError):
            return {"ok": False, "error": "the line is no JSON"}
        name = request.get("command") if isinstance(request, dict) else None
        command = self._commands.get(name) if isinstance(name, str) else None
        if command is None:
            return {"ok": False, "error": f"the commands are {', '.join(self._commands)}"}
        return await command(request)


async def ask(path: Path, request: Mapping[str, object]) -> dict[str, Any]:
    """Send one request to the daemon, and return its answer.

    Raises `NoDaemonError` when none runs, or it ends before it answers. Without a timeout of its
    own: callers give one with a cancel scope.
    """
    try:
        stream = await trio.open_unix_socket(path)
    except OSError as error:
        raise NoDaemonError(f"no relayd answers at {path} ({error.strerror})") from error
    async with stream:
        lines = LineReader(LINE_BYTES)
        try:
            await stream.send_all(json.dumps(request).encode() + b"\n")
            while data := await stream.receive_some():
                for line in lines.feed(data):
                    if isinstance(line, bytes):
                        answer: dict[str, Any] = json.loads(line)
                        return answer
        except trio.BrokenResourceError:
            pass
    raise NoDaemonError("relayd ended before it answered")
