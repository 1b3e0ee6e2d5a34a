"""What one token has of the work on pages, and what is kept for all: without the other being held up."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import pytest
from starlette.responses import HTMLResponse
from starlette.types import Message

from relayd.core.web_access import Role
from relayd.web import kept
from relayd.web.dashboard import shares
from relayd.web.dashboard.shares import Shares
from relayd.web.kept import Kept
from relayd.web.problem import ProblemError


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(test(), 10.0)

    asyncio.run(whole())


def test_pages_of_one_token_wait_for_each_other_and_never_for_another_ones() -> None:
    async def test() -> None:
        found = Shares()
        at_work, most = 0, 0

        async def page(role: Role, until: asyncio.Event) -> None:
            nonlocal at_work, most
            with found.page_of(role):
                async with found.turn():
                    at_work += 1
                    most = max(most, at_work)
                    await until.wait()
                    at_work -= 1

        never, now = asyncio.Event(), asyncio.Event()
        now.set()
        slow = [asyncio.create_task(page(Role.READ, never)) for _ in range(8)]
        await asyncio.sleep(0)
        await page(Role.EVERYTHING, now)
        assert most == 2
        never.set()
        await asyncio.gather(*slow)

    run(test)


def test_one_token_does_not_take_all_places() -> None:
    async def test() -> None:
        found = Shares()
        with ExitStack() as taken:
            for _ in range(shares.PAGES_EACH):
                taken.enter_context(found.page_of(Role.READ))
            with pytest.raises(ProblemError) as refused, found.page_of(Role.READ):
                pass
            assert refused.value.status == 429
            with found.page_of(Role.EVERYTHING):
                pass
        with found.page_of(Role.READ):
            pass

    run(test)


def test_what_is_not_read_yet_is_bounded_for_each_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shares, "SENT_BYTES", 1_000_000)
    monkeypatch.setattr(shares, "SENT_BYTES_EACH", 250_000)

    async def test() -> None:
        found = Shares()
        reads = asyncio.Event()
        statuses: list[int] = []
        parts: list[int] = []

        async def receive() -> Message:
            raise NotImplementedError

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            else:
                parts.append(len(message["body"]))
                await reads.wait()

        async def answered(role: Role) -> None:
            sent = found.sent(HTMLResponse("x" * 200_000), role)
            await sent({"type": "http", "method": "GET"}, receive, send)

        slow = asyncio.create_task(answered(Role.READ))
        await asyncio.sleep(0)
        refused = asyncio.create_task(answered(Role.READ))
        other = asyncio.create_task(answered(Role.EVERYTHING))
        await asyncio.sleep(0)
        assert statuses == [200, 429, 200]
        reads.set()
        await asyncio.gather(slow, refused, other)
        assert max(parts) <= 65_536
        await answered(Role.READ)
        assert statuses[-1] == 200

    run(test)


def test_what_is_kept_is_looked_for_once_and_holds_as_long_as_it_took(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    looks = 0

    async def look() -> int:
        nonlocal now, looks
        await asyncio.sleep(0)
        now += 2.0
        looks += 1
        return looks

    async def test() -> None:
        monkeypatch.setattr(asyncio.get_running_loop(), "time", lambda: now)
        found = Kept[int](1.0)
        assert await asyncio.gather(*(found.get(look) for _ in range(10))) == [1] * 10
        nonlocal_now(2.0 + kept.SHARE * 2.0 - 0.1)
        assert await found.get(look) == 1
        nonlocal_now(2.0 + kept.SHARE * 2.0)
        assert await found.get(look) == 2
        found.forget()
        assert await found.get(look) == 3

    def nonlocal_now(value: float) -> None:
        nonlocal now
        now = value

    asyncio.run(test())


def test_what_was_looked_for_before_a_change_is_not_kept_after_it() -> None:
    async def test() -> None:
        found = Kept[str](60.0)
        state = "before"
        goes_on = asyncio.Event()

        async def look() -> str:
            seen = state
            await goes_on.wait()
            return seen

        first = asyncio.create_task(found.get(look))
        await asyncio.sleep(0)
        state = "after"
        found.forget()
        second = asyncio.create_task(found.get(look))  # it waits for the first one
        goes_on.set()
        assert await first == "before"
        assert await second == "after"
        assert await found.get(look) == "after"

    run(test)


def test_a_look_that_fails_is_kept_for_nobody() -> None:
    async def test() -> None:
        found = Kept[int](60.0)

        async def fail() -> int:
            raise OSError

        async def look() -> int:
            return 5

        with pytest.raises(OSError):
            await found.get(fail)
        assert await found.get(look) == 5
        assert await found.get(fail) == 5

    run(test)
