"""One reader process as the daemon has it: the frames it sends, and the memory that these may take.

What a reader sends is bounded: a frame's length by its kind, its time by a deadline, and all
readers' frames together by one budget. A reader that says nothing for `SILENCE_S` is killed.
"""

import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Final

import trio

from relayd.spool import frames
from relayd.spool.exit_status import how_it_ended
from relayd.spool.frames import Kind

SILENCE_S: Final = 20.0
"""How long a reader may say nothing, or take for one frame. It says something every 3 s."""

EVENTS_BUDGET: Final = 8 * 1024 * 1024
"""What all readers' frames, except those of rejected rows, may take together until written."""

ROWS_BUDGET: Final = 20 * 1024 * 1024
"""What all readers' rejected rows may take together until written; one may have 16 MiB."""

_FRAME_S: Final = 10.0  # a frame that was announced comes at once: it holds a share of a budget

_FROM_READER: Final = (Kind.EVENTS, Kind.REJECTED, Kind.STATE, Kind.DEFECT)

END_S: Final = 2.0
"""How long a killed process may take to end."""


class Budget:
    """Bytes that several may hold at a time, together; who asks first is served first."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._turn = trio.Lock()
        self._given_back = trio.Event()

    @asynccontextmanager
    async def share(self, size: int) -> AsyncIterator[None]:
        """Hold so many bytes within the block. Not a checkpoint where they need not be waited for."""
        if self._turn.locked() or self._left < size:
            async with self._turn:
                while self._left < size:
                    self._given_back = trio.Event()
                    await self._given_back.wait()
        self._left -= size  # before anybody else runs, who may have the turn now
        try:
            yield
        finally:
            self._left += size
            self._given_back.set()


class Budgets:
    """What the frames of all readers of this process may take together until they are written."""

    def __init__(self) -> None:
        self.events = Budget(EVENTS_BUDGET)
        self.rows = Budget(ROWS_BUDGET)


class ReaderEndedError(Exception):
    """A reader has ended, or was killed; says how. `status` is as that of `ReaderProcess`."""

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


class ReaderProcess:
    """One reader process, running. Made by `Readers.reader`."""

    def __init__(
        self, number: int, channel: trio.socket.SocketType, page: int, budgets: "Budgets"
    ) -> None:
        self.number = number
        self.pid: int | None = None
        self.started = trio.Event()
        self.ended = trio.Event()
        self.failed: str | None = None
        self.status: int | None = None
        """The exit status, or minus a signal's number; None while it runs, or when unknown."""
        self._channel = channel
        self._page = page
        self._budgets = budgets

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
            raise ReaderEndedError(f"it said nothing for {allowed_s:g} s, and was killed") from None
        return raw

    @asynccontextmanager
    async def frame(self) -> AsyncIterator[Frame]:
        """Receive a frame; its share of the budget is given back when the block is left.

        Raises `ReaderEndedError` or `BadFrameError`.
        """
        head = frames.head_of(await self.receive(frames.HEAD.size), _FROM_READER)
        budget = self._budgets.rows if head.kind == Kind.REJECTED else self._budgets.events
        size = head.size
        async with budget.share(size):
            raw = await self.receive(size, within_s=min(_FRAME_S, SILENCE_S))
            text = frames.text_of(bytes(raw[: head.text_bytes]))
            received = Frame(head.kind, head.number, text, memoryview(raw)[head.text_bytes :])
            del raw
            yield received

    async def _ending(self) -> ReaderEndedError:
        with trio.move_on_after(END_S):
            await self.ended.wait()
        return ReaderEndedError(how_it_ended(self.status), self.status)
