"""Starts each reader by way of the template process, and sees to its end.

The template is started when the first reader is wanted, and again when it ends; its readers end
with it. Logged: `reader_template_exited` (warning) with its exit status.
"""

import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import structlog
import trio

from relayd.child_process import inherited, start_child
from relayd.program_files import EXIT_CHANGED, changed_in_words
from relayd.sources.reader_process import END_S, SILENCE_S, Budgets, ReaderEndedError, ReaderProcess
from relayd.spool.exit_status import PAGE_BYTES, how_it_ended
from relayd.spool.frames import Kind
from relayd.spool.template import MESSAGE_BYTES
from relayd.spool.text_frames import Settings, settings_text

_log = structlog.get_logger()

_RETRY_S: Final = 1.0
_CHANGED_RETRY_S: Final = 60.0  # after an upgrade: until the restart, or until it is taken back
_CLOSE_S: Final = 1.0  # how long a reader has to close its file
_ENVIRONMENT: Final = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "LD_PRELOAD", "TZ")
"""All that the template gets to know of the environment, in which there may be secrets."""


class Readers:
    """All readers of this process. `run` must run while there are any.

    `module` has the function `main` that the template process runs.
    """

    def __init__(self, module: str = "relayd.spool.template") -> None:
        self._module = module
        self._wanted = trio.Event()
        self._up = trio.Event()
        self._control: trio.socket.SocketType | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._readers: dict[int, ReaderProcess] = {}
        self._last = 0
        self._budgets = Budgets()
        self._changed = False

    def children(self) -> list[int]:
        """Return the process numbers of this process's own children: the template, if it runs."""
        process = self._process
        return [] if process is None or process.returncode is not None else [process.pid]

    async def run(self) -> None:
        """Keep a template running, as soon as a reader is wanted, until cancelled."""
        await self._wanted.wait()
        while True:
            self._changed = False
            try:
                await self._run_template()
            except OSError as error:
                _log.warning("reader_template_start_failed", detail=error.strerror)
            await trio.sleep(_CHANGED_RETRY_S if self._changed else _RETRY_S)

    @asynccontextmanager
    async def reader(self, settings: Settings) -> AsyncIterator[ReaderProcess]:
        """Start a reader, and see to its end when the block is left, whatever it does.

        Raises `OSError` when there is no room for it, and `ReaderEndedError`.
        """
        self._wanted.set()
        if self._changed:
            raise ReaderEndedError(changed_in_words())
        await self._up.wait()
        self._last += 1
        ours, theirs = socket.socketpair()
        with theirs, trio.socket.from_stdlib_socket(ours) as channel:
            page = os.memfd_create("relayd-reader", os.MFD_CLOEXEC)
            reader = self._readers[self._last] = ReaderProcess(
                self._last, channel, page, self._budgets
            )
            try:
                os.ftruncate(page, PAGE_BYTES)
                await self._start(reader, theirs.fileno(), page)
                theirs.close()
                await reader.send(Kind.SETTINGS, 0, settings_text(settings))
                yield reader
            finally:
                channel.close()
                with trio.CancelScope(shield=True):
                    await self._end(reader)
                os.close(page)
                self._readers.pop(reader.number, None)

    def kill(self, reader: ReaderProcess) -> None:
        """Kill a reader. Its end is reported later."""
        self._send({"kill": reader.number})

    async def _start(self, reader: ReaderProcess, channel: int, page: int) -> None:
        if not self._send({"start": reader.number}, channel, page):
            raise ReaderEndedError("the template process has ended")
        with trio.move_on_after(SILENCE_S):
            await reader.started.wait()
        if self._changed:
            raise ReaderEndedError(changed_in_words())
        if reader.failed is not None:
            raise ReaderEndedError(f"no process could be started: {reader.failed}")
        if not reader.started.is_set():
            self._kill_template()
            raise ReaderEndedError("the template process does not answer, and was killed")

    async def _end(self, reader: ReaderProcess) -> None:
        """Wait until a reader whose channel is closed has ended; kill it when it does not."""
        if _runs(reader):
            with trio.move_on_after(_CLOSE_S):
                await reader.ended.wait()
            if not reader.ended.is_set():
                self.kill(reader)
                with trio.move_on_after(END_S):
                    await reader.ended.wait()
            if not reader.ended.is_set():
                self._kill_template()

    async def _run_template(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, trio.socket.from_stdlib_socket(ours) as control:
            process = self._process = start_child(
                self._module,
                [os.getpid(), theirs.fileno()],
                environ=inherited(*_ENVIRONMENT),
                pass_fds=[theirs.fileno()],
            )
            theirs.close()
            self._control = control
            self._up.set()
            try:
                await self._listen(control)
            finally:
                with trio.CancelScope(shield=True):
                    await self._bury(process)
        _log.warning("reader_template_exited", detail=how_it_ended(process.returncode))

    async def _listen(self, control: trio.socket.SocketType) -> None:
        """Note what the template reports, until it ends; when cancelled, until its readers have."""
        try:
            while await self._hear(control):
                pass
        except trio.Cancelled:
            with trio.CancelScope(shield=True), trio.move_on_after(_CLOSE_S + END_S):
                while any(map(_runs, self._readers.values())) and await self._hear(control):
                    pass
            raise

    async def _hear(self, control: trio.socket.SocketType) -> bool:
        try:
            raw = await control.recv(MESSAGE_BYTES)
        except OSError:
            return False
        if raw:
            self._note(json.loads(raw))
        return bool(raw)

    def _note(self, message: Mapping[str, Any]) -> None:
        number = message.get("started") or message.get("failed") or message.get("ended")
        reader = self._readers.get(number or 0)
        if reader is None:
            return
        if "ended" in message:
            reader.status = message["status"]
            reader.ended.set()
            return
        reader.pid = message.get("pid")
        reader.failed = message.get("error")
        reader.started.set()

    async def _bury(self, process: "subprocess.Popen[bytes]") -> None:
        """End the template, and with it all of its readers."""
        self._up = trio.Event()
        self._control = None
        process.kill()
        with trio.move_on_after(END_S):
            while process.poll() is None:  # noqa: ASYNC110 - a process sets no event
                await trio.sleep(0.005)
        self._changed = process.returncode == EXIT_CHANGED
        for reader in self._readers.values():
            if not reader.started.is_set():
                reader.failed = "the template process has ended"
                reader.started.set()
            reader.ended.set()

    def _send(self, message: Mapping[str, object], *descriptors: int) -> bool:
        """Send the template a message; return whether it is there to take it."""
        if self._control is None:
            return False
        control = socket.socket(fileno=os.dup(self._control.fileno()))
        with control, suppress(OSError):
            # It takes messages at once; a full buffer means that it has stopped. The descriptor is
            # trio's, which does not block.
            socket.send_fds(control, [json.dumps(message).encode()], descriptors)
            return True
        return False

    def _kill_template(self) -> None:
        if self._process is not None:
            self._process.kill()


def _runs(reader: ReaderProcess) -> bool:
    return reader.started.is_set() and reader.failed is None and not reader.ended.is_set()
