"""Serves a Unix socket on which each line is asked and answered, in order.

The producers' socket and the operator's control socket are both one. Memory is bounded: a line
has a limit, lines are answered before more are read, and a peer that never reads its answers is
slowed, then let go. How many may be connected, and how long one may stay silent, is bounded too.
"""

import errno
import json
import math
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import structlog
import trio

from relayd.core.framing import LineReader, TooLong

_log = structlog.get_logger()

Answers = Sequence[dict[str, object]]
AnswerLines = Callable[[Sequence[bytes | TooLong]], Awaitable[Answers]]
"""Answers lines that came together, one answer for each, in order."""

_READ_BYTES = 65_536
_SEND_TIMEOUT_S = 30.0

_NO_CAPACITY = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS}
_RETRY_S = 0.2
_TELL_S = 60.0


class LineServer:
    """Accepts connections on one listener, and answers lines until cancelled."""

    def __init__(
        self,
        answer: AnswerLines,
        *,
        name: str,
        line_bytes: int,
        connections: int = 500,
        idle_s: float = 600.0,
    ) -> None:
        self._answer = answer
        self._name = name
        self._line_bytes = line_bytes
        self._limit = connections
        self._idle_s = idle_s
        self._connected = 0

    async def serve(self, listener: trio.SocketListener) -> None:
        """Serve until cancelled; what a connection's peer does ends no more than its connection."""
        async with listener, trio.open_nursery() as connections:
            told_at = -math.inf
            while True:
                try:
                    stream = await listener.accept()
                except OSError as error:
                    if error.errno not in _NO_CAPACITY:
                        raise
                    # Who wants to connect waits in the listener's backlog meanwhile.
                    if trio.current_time() - told_at >= _TELL_S:
                        told_at = trio.current_time()
                        _log.error("socket_not_accepting", source=self._name, detail=_words(error))
                    await trio.sleep(_RETRY_S)
                else:
                    connections.start_soon(self._connection, stream)

    async def _connection(self, stream: trio.SocketStream) -> None:
        async with stream:
            if self._connected >= self._limit:
                _log.warning("socket_full", source=self._name, connections=self._connected)
                refusal = {"ok": False, "code": "busy", "error": "too many connections; try again"}
                with suppress(trio.BrokenResourceError), trio.move_on_after(1.0):
                    await stream.send_all(encoded([refusal]))
                return
            self._connected += 1
            try:
                await self._converse(stream)
            except trio.BrokenResourceError:
                # The peer left before its answer; what was accepted stays accepted.
                pass
            finally:
                self._connected -= 1

    async def _converse(self, stream: trio.SocketStream) -> None:
        lines = LineReader(self._line_bytes)
        while True:
            with trio.move_on_after(self._idle_s) as idle:
                data = await stream.receive_some(_READ_BYTES)
            if idle.cancelled_caught or not data:
                # A part of a line that was never ended is dropped: it may have been cut anywhere.
                return
            if complete := lines.feed(data):
                answers = encoded(await self._answer(complete))
                with trio.move_on_after(_SEND_TIMEOUT_S) as sending:
                    await stream.send_all(answers)
                if sending.cancelled_caught:
                    return


def _words(error: OSError) -> str:
    """Say what is lacking, and what to do."""
    if error.errno == errno.EMFILE:
        return (
            "relayd has no file descriptor left for a connection: raise its limit (LimitNOFILE= of"
            " its unit, ulimit -n), or have producers close theirs"
        )
    return f"no connection can be taken: {error.strerror}"


def encoded(answers: Answers) -> bytes:
    """Return answers as lines of JSON."""
    lines = (json.dumps(answer, ensure_ascii=False, separators=(",", ":")) for answer in answers)
    return "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
