"""Renders templates in a process beside the daemon, which is started when it is first needed.

One rendering of a template's file runs at a time, and a few of all; others wait in their own attempt's
time. The process is started again when it has ended, and replaced when it takes no rendering: it hangs, or is
stopped. Logged: `template_process_exited`, `template_process_stuck` (warnings).
"""

import os
import socket
import subprocess
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import PurePath
from typing import Final, Self

import structlog
import trio

from relayd.child_process import inherited, start_child
from relayd.core.sentence import plain
from relayd.core.template import (
    FAULT,
    JOB,
    MAX_FAULT_BYTES,
    MAX_OUTPUT_BYTES,
    OUTPUT,
    READY,
    RENDER_MB,
    RENDER_S,
    RESULT,
    TAKEN,
    Template,
)
from relayd.program_files import EXIT_CHANGED, changed_in_words

_log = structlog.get_logger()

_AT_ONCE: Final = 4
_END_S: Final = 1.0
START_S: Final = 30.0
TAKE_S: Final = 5.0
"""How long it may take to be ready, and then to take a rendering, which costs it a fork. It has a low priority."""
_LOOK_S: Final = 0.5
_MOST_BYTES: Final = RESULT.size + MAX_OUTPUT_BYTES
_ENVIRONMENT: Final = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "LD_PRELOAD")
"""All that the process gets to know of the environment, in which there may be secrets."""


class TemplateFailedError(Exception):
    """A template did not render: says why, with the file's name and line, and no value of the event."""


class TemplateProcess:
    """Renders in one process, which forks for each rendering. Nothing runs until `start` or `render`."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._status = 0
        """With which the last one ended."""
        self._started_at = 0.0
        self._ready_at: float | None = None
        self._not_taken: deque[float] = deque()
        """When each rendering was handed over that the process has not taken yet."""
        self._together = trio.CapacityLimiter(_AT_ONCE)
        self._of_file: dict[str, trio.Lock] = {}

    def children(self) -> list[int]:
        """Return the process's number, if it runs."""
        process = self._process
        return [] if process is None or process.returncode is not None else [process.pid]

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.close()

    def start_early(self) -> None:
        """Start the process before it is needed: later, an upgrade may have changed relayd's files."""
        with suppress(OSError):  # then the first rendering says so
            self.start()

    def start(self) -> None:
        """Start the process where none runs. Raises `OSError`."""
        if self._runs():
            if not self._hangs():
                return
            self._kill_stuck()
        if self._process is not None:
            self.close()
            _log.warning("template_process_exited", status=self._status)
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            try:
                self._process = start_child(
                    "relayd.template_renderer",
                    [os.getpid(), theirs.fileno()],
                    environ=inherited(*_ENVIRONMENT),
                    pass_fds=[theirs.fileno()],
                )
            except BaseException:
                ours.close()
                raise
        ours.setblocking(
            False
        )  # `send_fds` passes no flags on: a full buffer would hold up the daemon
        self._control = ours
        self._started_at, self._ready_at = trio.current_time(), None
        self._not_taken.clear()

    def close(self) -> None:
        """End the process, and what it renders with it."""
        if self._process is not None:
            self._process.kill()  # nothing where it has ended: then this is its own status
            with suppress(subprocess.TimeoutExpired):
                self._status = self._process.wait(_END_S)
        self._process = None
        if self._control is not None:
            self._control.close()
        self._control = None

    async def render(self, template: Template, body: bytes) -> bytes:
        """Return what a template makes of an event's body. Raises `TemplateFailedError`.

        When cancelled, the rendering ends by itself, within its own time.
        """
        async with self._turn(template.file), self._together:
            for _ in range(2):
                process = self._started()
                answer = await self._answer(template, body)
                # Where the whole process was ended, that says nothing about this template.
                if answer or (self._process is process and self._runs()):
                    return _output(template, answer)
        if self._process is not None and not self._runs():
            self.close()
        raise TemplateFailedError(
            changed_in_words()
            if self._status == EXIT_CHANGED
            else "the process that renders templates was ended, twice"
        )

    def _started(self) -> "subprocess.Popen[bytes] | None":
        try:
            self.start()
        except OSError as error:
            raise TemplateFailedError(
                f"the process that renders templates could not be started: {error.strerror}"
            ) from None
        return self._process

    @asynccontextmanager
    async def _turn(self, file: str) -> AsyncIterator[None]:
        lock = self._of_file.setdefault(file, trio.Lock())
        try:
            async with lock:
                yield
        finally:
            statistics = lock.statistics()
            if not statistics.locked and not statistics.tasks_waiting:
                self._of_file.pop(file, None)

    async def _answer(self, template: Template, body: bytes) -> bytes:
        """Return what comes back on a rendering's socket: nothing where its process was ended."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise TemplateFailedError(f"no socket could be made: {error.strerror}") from None
        async with trio.SocketStream(trio.socket.from_stdlib_socket(ours)) as job:
            with theirs:
                if not self._hand_over(theirs):
                    return b""
            text = template.text.encode()
            answer = bytearray()
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, self._process)
                with suppress(trio.BrokenResourceError):
                    await job.send_all(JOB.pack(len(text), len(body)) + text + body)
                    while len(answer) <= _MOST_BYTES and (part := await job.receive_some()):
                        answer += part
                nursery.cancel_scope.cancel()
            return bytes(answer)

    async def _watch(self, process: "subprocess.Popen[bytes] | None") -> None:
        """Kill a process that hangs, which ends all renderings that it has not finished."""
        while self._process is process:
            await trio.sleep(_LOOK_S)
            if self._process is process and self._runs() and self._hangs():
                self._kill_stuck()

    def _hangs(self) -> bool:
        """Tell whether the process takes no rendering. Whoever asked for it may be gone by now."""
        now = trio.current_time()
        if self._ready_at is None:
            return now - self._started_at > START_S
        return bool(self._not_taken) and now - max(self._ready_at, self._not_taken[0]) > TAKE_S

    def _kill_stuck(self) -> None:
        _log.warning("template_process_stuck", pid=self._process and self._process.pid)
        self.close()

    def _hand_over(self, job: socket.socket) -> bool:
        if self._control is None:
            return False
        try:
            socket.send_fds(self._control, [b"r"], [job.fileno()])
        except OSError:
            if self._runs():  # its socket is full of renderings that it has not taken
                self._kill_stuck()
            return False
        self._not_taken.append(trio.current_time())
        return True

    def _runs(self) -> bool:
        """Tell whether the process runs, and note what it has said meanwhile."""
        if self._process is None or self._control is None or self._process.poll() is not None:
            return False
        try:
            while said := self._control.recv(1):
                self._note(said)
        except BlockingIOError:
            return True
        except OSError:
            pass
        return False  # it has closed its end, as it does when it is ended

    def _note(self, said: bytes) -> None:
        if said == READY:
            self._ready_at = trio.current_time()
        elif said == TAKEN and self._not_taken:
            self._not_taken.popleft()


def _output(template: Template, answer: bytes) -> bytes:
    """Return the output in an answer; raise `TemplateFailedError` where it has none."""
    kind, size = RESULT.unpack_from(answer) if len(answer) >= RESULT.size else (0, 0)
    content = answer[RESULT.size :]
    name = PurePath(template.file).name
    if kind == OUTPUT and len(content) == size:
        return content
    if kind == FAULT and len(content) == size <= MAX_FAULT_BYTES:
        raise TemplateFailedError(f"{name}, {plain(content.decode(errors='replace'))}")
    raise TemplateFailedError(
        f"{name} took more than {RENDER_S:g} s or {RENDER_MB} MB, and its process was ended"
    )
