"""The web process's way to hand over events: the daemon's intake socket."""

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final

from relayd.core.budget import Budget
from relayd.web.problem import ProblemError

TIMEOUT_S: Final = 20.0
"""How long the daemon may take to make events durable. Who sent them tries again then."""

AT_ONCE: Final = 64
AT_ONCE_EACH: Final = 32
"""Requests that hand over at a time, of all and of one source. The next is answered 429. Inbound webhooks
have as many places of their own: neither they nor producers keep the others out."""

PATIENCE_S: Final = 5.0
"""How long a provider waits at most while the daemon is restarted. Providers give up after some 10 s."""

AGAIN_S: Final = 0.05
AGAIN_AT_MOST_S: Final = 0.5
"""How long after the first refusal it is asked again, doubled each time up to the other: a daemon that
can store nothing, or fails at a line, is asked a dozen times in all, not a hundred."""

AT_ONCE_PATIENTLY: Final = 24
"""The same of one inbound entry. More wait for their turn: not every provider tries again after a 429."""

_PASSING: Final = frozenset({"unavailable", "busy"})
"""The daemon's answers that say to try again."""

_ANSWER_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Head:
    """What the web process says of an event: its source, market, and id where it names none."""

    source: str
    market_id: str
    markets: frozenset[str] | None
    id: str = ""

    def line(self) -> bytes:
        """Return it as it stands before the event."""
        markets = "*" if self.markets is None else sorted(self.markets)
        head = {"source": self.source, "market_id": self.market_id, "markets": markets}
        return json.dumps(head | ({"id": self.id} if self.id else {})).encode()


class IntakeLink:
    """Hands events over at `path`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._under_way = Budget(AT_ONCE, AT_ONCE_EACH)
        self._webhooks_under_way = Budget(AT_ONCE, AT_ONCE_EACH)
        self._turns: dict[str, asyncio.Semaphore] = {}

    async def hand_over(self, head: Head, events: Sequence[bytes]) -> list[dict[str, Any]]:
        """Return the daemon's answer for each event, which holds no line break, in order.

        Raises `ProblemError` where the daemon does not answer: what it has taken by then it knows
        by its id when it comes again.
        """
        if not self._under_way.take(head.source, 1):
            raise ProblemError(
                HTTPStatus.TOO_MANY_REQUESTS,
                "busy",
                "too many requests hand over events now",
                {"Retry-After": "1"},
            )
        try:
            async with asyncio.timeout(TIMEOUT_S):
                return await self._exchange(head.line() + b"\t", events)
        except (OSError, EOFError, ValueError) as error:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "unavailable",
                "relayd cannot take events now; try again",
                {"Retry-After": "5"},
            ) from error
        finally:
            self._under_way.give_back(head.source, 1)

    async def patiently(self, source: str, line: bytes) -> dict[str, Any]:
        """Return the daemon's answer to a whole line that may be sent again.

        While the daemon does not answer, as when it is restarted, or can store nothing, it is asked again, for
        `PATIENCE_S` in all. Raises `ProblemError` after that.
        """
        waiting = self._turns.setdefault(source, asyncio.Semaphore(AT_ONCE_PATIENTLY))
        last: dict[str, Any] | None = None
        pause = AGAIN_S
        try:
            async with asyncio.timeout(PATIENCE_S), waiting:
                while True:
                    if not self._webhooks_under_way.take(source, 1):
                        await asyncio.sleep(AGAIN_S)
                        continue
                    try:
                        [last] = await self._exchange(b"", [line])
                    except (OSError, EOFError, ValueError):
                        pass  # it is not there, or went away
                    finally:
                        self._webhooks_under_way.give_back(source, 1)
                    if last is not None and last.get("code") not in _PASSING:
                        return last
                    await asyncio.sleep(pause)
                    pause = min(2 * pause, AGAIN_AT_MOST_S)
        except TimeoutError as error:
            raise ProblemError(
                HTTPStatus.SERVICE_UNAVAILABLE,
                "unavailable",
                "relayd cannot take events now; try again",
                {"Retry-After": "5"},
            ) from error

    async def _exchange(self, head: bytes, events: Sequence[bytes]) -> list[dict[str, Any]]:
        reader, writer = await asyncio.open_unix_connection(str(self._path), limit=_ANSWER_BYTES)
        try:
            # Both at once: the daemon reads no further while its answers are not read.
            answers = asyncio.create_task(self._answers(reader, len(events)))
            try:
                for event in events:
                    writer.write(head + event + b"\n")
                    await writer.drain()
                return await answers
            finally:
                answers.cancel()
                if answers.done() and not answers.cancelled():
                    answers.exception()  # it is known: nobody else asks for it
        finally:
            writer.close()

    async def _answers(self, reader: asyncio.StreamReader, count: int) -> list[dict[str, Any]]:
        found = []
        for _ in range(count):
            line = await reader.readuntil(b"\n")
            found.append(json.loads(line))
        return found
