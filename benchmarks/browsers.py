"""Ten tabs of the dashboard, a scraper, and a client that means harm, until SIGTERM: a program of its own.

    python -m benchmarks.browsers PORT TOKEN

The tabs do what the page's script does: each asks for its page every 3 s. Prometheus scrapes every 5 s. The
client that means harm has no token; it sends some 200 requests a second: pages, failed logins, nonsense, heads
that never end, and requests whose answers it never reads. It runs at the lowest priority, since all of these are
on other machines. The last line that it prints is JSON: what it got.
"""

import asyncio
import contextlib
import json
import os
import random
import signal
import sys
import time

TABS = (
    *("/", "/", "/", "/deliveries", "/deliveries?state=pending", "/deliveries?state=exhausted"),
    *("/events", "/events?type=order.*", "/problems", "/configuration"),
)
TAB_S = 3.0
SCRAPE_S = 5.0
HARM_S = 0.005
"""Between two requests of the client that means harm."""
_HELD = 200
"""Connections that it holds open: heads that do not end, answers that are not read."""

_NAMED = b"Host: 127.0.0.1\r\n"
_HARM = (
    b"GET / HTTP/1.1\r\n" + _NAMED + b"Connection: close\r\n\r\n",
    b"GET /healthz HTTP/1.1\r\n" + _NAMED + b"Connection: close\r\n\r\n",
    b"GET /v1/events HTTP/1.1\r\nAuthorization: Bearer guessed-0123456789\r\n"
    + _NAMED
    + b"Connection: close\r\n\r\n",
    b"POST /login HTTP/1.1\r\n"
    + _NAMED
    + b"Connection: close\r\nContent-Length: 24\r\n\r\ntoken=guessed-0123456789",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
)
_HELD_OPEN = (
    b"GET / HTTP/1.1\r\n" + _NAMED + b"X-Slow: ",
    b"POST /login HTTP/1.1\r\n" + _NAMED + b"Content-Length: 1000\r\n\r\na",
    (b"GET /static/relayd.js HTTP/1.1\r\n" + _NAMED + b"\r\n") * 50,
)


class Browsers:
    """All of them, and what they got."""

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self._token = token
        self.pages_ms: list[float] = []
        self.scrapes_ms: list[float] = []
        self.failed = 0
        self.harm = 0

    async def run(self) -> None:
        """Go on until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for number, path in enumerate(TABS):
                tasks.create_task(self._again(path, TAB_S, number / len(TABS), self.pages_ms))
            tasks.create_task(self._again("/metrics", SCRAPE_S, 0.5, self.scrapes_ms))
            tasks.create_task(self._harm())

    async def _again(self, path: str, every_s: float, phase: float, found: list[float]) -> None:
        head = f"GET {path} HTTP/1.1\r\nAuthorization: Bearer {self._token}\r\n"
        request = head.encode() + _NAMED + b"X-Refresh: 1\r\nConnection: close\r\n\r\n"
        await asyncio.sleep(phase * every_s)
        while True:
            began = time.perf_counter()
            answer = b""
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(10.0):
                    answer = await self._ask(request)
            if answer.startswith(b"HTTP/1.1 200 "):
                found.append((time.perf_counter() - began) * 1000)
            else:
                self.failed += 1
            await asyncio.sleep(every_s)

    async def _ask(self, request: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            writer.write(request)
            return await reader.read(-1)
        finally:
            writer.close()

    async def _harm(self) -> None:
        held: list[asyncio.StreamWriter] = []
        while True:
            await asyncio.sleep(HARM_S)
            self.harm += 1
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(1.0):
                    if random.random() < 0.8:  # noqa: S311 - no secret
                        await self._ask(random.choice(_HARM))  # noqa: S311 - as above
                        continue
                    _, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1024)
                    writer.write(random.choice(_HELD_OPEN))  # noqa: S311 - as above
                    held.append(writer)
                    if len(held) > _HELD:
                        held.pop(0).transport.abort()


async def _main(port: int, token: str) -> None:
    browsers = Browsers(port, token)
    task = asyncio.create_task(browsers.run())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task
    print(  # noqa: T201 - a program
        json.dumps(
            {
                "pages_ms": browsers.pages_ms,
                "scrapes_ms": browsers.scrapes_ms,
                "failed": browsers.failed,
                "harm": browsers.harm,
            }
        )
    )


if __name__ == "__main__":
    os.nice(19)
    asyncio.run(_main(int(sys.argv[1]), sys.argv[2]))
