"""The daemon's side of the readers: starts each one by way of the template, and sees to its end.

What a reader sends is bounded: a frame's length by its kind, its time by a deadline, and all
readers' frames together by one budget. A reader that says nothing for `SILENCE_S` is killed.

The template is started when the first reader is wanted, and again when it ends; its readers end
with it. Logged: `template_ended` (warning) with its exit status.
"""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog
import trio

from relayd.child_process import inherited, start_child
from relayd.spool import frames
from relayd.spool.frames import Kind
from relayd.spool.reader import (
    EXIT_BARRED,
    EXIT_CLOSED,
    EXIT_DEFECT,
    EXIT_MEMORY,
    EXIT_MOVED,
    PAGE_BYTES,
)
from relayd.spool.template import MESSAGE_BYTES
from relayd.spool.text_frames import Settings, settings_text

_log = structlog.get_logger()

SILENCE_S: Final = 20.0
"""How long a reader may say nothing, or take for one frame. It says something every 3 s."""

EVENTS_BUDGET: Final = 8 * 1024 * 1024
"""What all readers' frames, except those of rejected rows, may take together until written."""

ROWS_BUDGET: Final = 20 * 1024 * 1024
"""What all readers' rejected rows may take together until written; one may have 16 MiB."""

_FRAME_S: Final = 10.0  # a frame that was announced comes at once: it holds a share of a budget

_RETRY_S: Final = 1.0
_CLOSE_S: Final = 1.0  # how long a reader has to close its file
_END_S: Final = 2.0  # how long a killed process may take to end
_FROM_READER: Final = (Kind.EVENTS, Kind.REJECTED, Kind.STATE, Kind.DEFECT)

_ENVIRONMENT: Final = ("LANG", "LC_ALL", "LD_LIBRARY_PATH", "LD_PRELOAD", "TZ")
"""All that the template gets to know of the environment, in which there may be secrets."""


class ReaderEndedError(Exception):
    """A reader has ended, or was killed; says how. `status` is as that of `Reader`."""

    def __init__(self, how: str, status: int | None = None) -> None:
        super().__init__(how)
        self.status = status


@dataclass(slots=True)
class Frame:
    """A frame from a reader: its kind and number, its text as JSON says it, and its bytes.

    Who has copied the bytes may put none in their place, before waiting for anything.
    """

    kind: Kind
    number: int
    text: Any
    blob: memoryview


class Reader:
    """One reader process, running. Made by `Readers.reader`."""

    def __init__(self, number: int, channel: trio.socket.SocketType, page: int) -> None:
        self.number = number
        self.pid: int | None = None
        self.started = trio.Event()
        self.ended = trio.Event()
        self.failed: str | None = None
        self.status: int | None = None
        """The exit status, or minus a signal's number; None while it runs, or when unknown."""
        self._channel = channel
        self._page = page

    def at_work(self) -> int:
        """Return the key of the row that its code runs for, or ran for when it ended; 0 for none."""
        # Read, not mapped: a page that the reader cut off must not end the daemon.
        return int.from_bytes(os.pread(self._page, 8, 0), sys.byteorder, signed=True)

    async def send(self, kind: Kind, number: int, text: object) -> None:
        """Send a frame. Raises `ReaderEndedError`, also when it is not taken in time."""
        raw = memoryview(frames.frame(kind, number, text))
        try:
            with trio.fail_after(SILENCE_S):
                while raw:
                    raw = raw[await self._channel.send(raw) :]
        except OSError:
            raise await self._ending() from None
        except trio.TooSlowError:
            raise ReaderEndedError(f"it took nothing for {SILENCE_S:g} s, and was killed") from None

    async def receive(self, size: int, *, within_s: float | None = None) -> bytearray:
        """Return so many bytes. Raises `ReaderEndedError`, also when they do not come in time."""
        raw = bytearray(size)
        view = memoryview(raw)
        allowed_s = SILENCE_S if within_s is None else within_s
        try:
            with trio.fail_after(allowed_s):
                while view:
                    count = await self._channel.recv_into(view)
                    if count == 0:
                        raise await self._ending()
                    view = view[count:]
        except OSError:
            raise await self._ending() from None
        except trio.TooSlowError:
            raise ReaderEndedError(f"it said nothing for {SILENCE_S:g} s, and was killed") from None
        return raw

    async def _ending(self) -> ReaderEndedError:
        with trio.move_on_after(_END_S):
            await self.ended.wait()
        return ReaderEndedError(how_it_ended(self.status), self.status)


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
        self._readers: dict[int, Reader] = {}
        self._last = 0
        self._events_budget = _Budget(EVENTS_BUDGET)
        self._rows_budget = _Budget(ROWS_BUDGET)

    def children(self) -> list[int]:
        """Return the process numbers of this process's own children: the template, if it runs."""
        process = self._process
        return [] if process is None or process.returncode is not None else [process.pid]

    async def run(self) -> None:
        """Keep a template running, as soon as a reader is wanted, until cancelled."""
        await self._wanted.wait()
        while True:
            try:
                await self._run_template()
            except OSError as error:
                _log.warning("template_not_started", detail=error.strerror)
            await trio.sleep(_RETRY_S)

    @asynccontextmanager
    async def reader(self, settings: Settings) -> AsyncIterator[Reader]:
        """Start a reader, and see to its end when the block is left, whatever it does.

        Raises `OSError` when there is no room for it, and `ReaderEndedError`.
        """
        self._wanted.set()
        await self._up.wait()
        self._last += 1
        ours, theirs = socket.socketpair()
        with theirs, trio.socket.from_stdlib_socket(ours) as channel:
            page = os.memfd_create("relayd-reader", os.MFD_CLOEXEC)
            reader = self._readers[self._last] = Reader(self._last, channel, page)
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

    @asynccontextmanager
    async def frame(self, reader: Reader) -> AsyncIterator[Frame]:
        """Receive a frame; its share of the budget is given back when the block is left.

        Raises `ReaderEndedError` or `BadFrameError`.
        """
        head = frames.head_of(await reader.receive(frames.HEAD.size), _FROM_READER)
        budget = self._rows_budget if head.kind == Kind.REJECTED else self._events_budget
        async with budget.share(head.size):
            raw = await reader.receive(head.size, within_s=min(_FRAME_S, SILENCE_S))
            text = frames.text_of(bytes(raw[: head.text_bytes]))
            received = Frame(head.kind, head.number, text, memoryview(raw)[head.text_bytes :])
            del raw
            yield received

    def kill(self, reader: Reader) -> None:
        """Kill a reader. Its end is reported later."""
        self._send({"kill": reader.number})

    async def _start(self, reader: Reader, channel: int, page: int) -> None:
        if not self._send({"start": reader.number}, channel, page):
            raise ReaderEndedError("the template process has ended")
        with trio.move_on_after(SILENCE_S):
            await reader.started.wait()
        if reader.failed is not None:
            raise ReaderEndedError(f"no process could be started: {reader.failed}")
        if not reader.started.is_set():
            self._kill_template()
            raise ReaderEndedError("the template process does not answer, and was killed")

    async def _end(self, reader: Reader) -> None:
        """Wait until a reader whose channel is closed has ended; kill it when it does not."""
        if _runs(reader):
            with trio.move_on_after(_CLOSE_S):
                await reader.ended.wait()
            if not reader.ended.is_set():
                self.kill(reader)
                with trio.move_on_after(_END_S):
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
        _log.warning("template_ended", detail=how_it_ended(process.returncode))

    async def _listen(self, control: trio.socket.SocketType) -> None:
        """Note what the template reports, until it ends; when cancelled, until its readers have."""
        try:
            while await self._hear(control):
                pass
        except trio.Cancelled:
            with trio.CancelScope(shield=True), trio.move_on_after(_CLOSE_S + _END_S):
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
        with trio.move_on_after(_END_S):
            while process.poll() is None:  # noqa: ASYNC110 - a process sets no event
                await trio.sleep(0.005)
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
            # It takes messages at once; a full buffer means that it has stopped.
            socket.send_fds(
                control, [json.dumps(message).encode()], descriptors, socket.MSG_DONTWAIT
            )
            return True
        return False

    def _kill_template(self) -> None:
        if self._process is not None:
            self._process.kill()


class _Budget:
    """Bytes that several may hold at a time, together; who asks first is served first."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._turn = trio.Lock()
        self._given_back = trio.Event()

    @asynccontextmanager
    async def share(self, size: int) -> AsyncIterator[None]:
        async with self._turn:
            while self._left < size:
                self._given_back = trio.Event()
                await self._given_back.wait()
            self._left -= size
        try:
            yield
        finally:
            self._left += size
            self._given_back.set()


def _runs(reader: Reader) -> bool:
    return reader.started.is_set() and reader.failed is None and not reader.ended.is_set()


def how_it_ended(status: int | None) -> str:
    """Say how a process ended."""
    if status is None:
        return "it was killed with the template process"
    if status < 0:
        name = _signal_name(-status)
        return f"killed by {name}" + (", its deadline" if name == "SIGALRM" else "")
    return {
        EXIT_CLOSED: "it ended",
        EXIT_DEFECT: "a defect in relayd, see the log",
        EXIT_MEMORY: "it needed more memory than its limit",
        EXIT_MOVED: "its folder is not the one that was there before",
        EXIT_BARRED: "this user may not write to the spool",
    }.get(status, f"exit status {status}")


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
