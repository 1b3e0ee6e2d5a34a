"""Many programs that hand over at once: what each may take of the web process, and all together."""

import asyncio
import gc
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request
from starlette.types import Message

from relayd.web.body import BODY_BYTES, BODY_BYTES_EACH, WEBHOOK_BYTES, Bodies
from relayd.web.intake_link import AT_ONCE, AT_ONCE_EACH, Head, IntakeLink
from relayd.web.problem import ProblemError

MIB = 1024 * 1024


def receiving(size: int) -> Callable[[], Awaitable[Message]]:
    """Return what gives a body of this size, in parts of 1 MiB."""
    left = size

    async def receive() -> Message:
        nonlocal left
        part = min(left, MIB)
        left -= part
        return {"type": "http.request", "body": b"x" * part, "more_body": left > 0}

    return receive


def request_of(size: int) -> Request:
    return Request({"type": "http", "method": "POST", "headers": []}, receiving(size))


async def read(bodies: Bodies, user: str, size: int, until: asyncio.Event) -> int:
    """Keep a body until the event; return the status of a refusal, or 0."""
    try:
        async with bodies.whole(request_of(size), 8 * MIB, user) as body:
            assert len(body) == size
            await until.wait()
    except ProblemError as problem:
        return problem.response().status_code
    return 0


def test_bodies_are_bounded_for_each_and_for_all() -> None:
    async def run() -> None:
        bodies = Bodies()

        async def reads(users: list[str]) -> list[int]:
            until = asyncio.Event()
            tasks = [asyncio.create_task(read(bodies, each, 8 * MIB, until)) for each in users]
            for _ in range(200):
                await asyncio.sleep(0)
            until.set()
            return await asyncio.gather(*tasks)

        each = BODY_BYTES_EACH // (8 * MIB)
        users = BODY_BYTES // BODY_BYTES_EACH
        assert await reads(["a"] * each + ["b"]) == [0] * (each + 1)
        found = await reads(["a"] * (each + 1) + ["b"])
        assert sorted(found) == [0] * (each + 1) + [429], "one of the first's has no room"
        assert found[-1] == 0, "the other is not refused"
        # What was refused, and what has ended, was given back.
        names = [str(number) for number in range(users) for _ in range(each)]
        assert await reads(names) == [0] * len(names)
        assert 429 in await reads([*names, "one more"])
        assert await reads(names) == [0] * len(names)

    asyncio.run(run())


def test_webhooks_of_anybody_leave_room_for_those_who_have_a_token() -> None:
    async def run() -> None:
        bodies = Bodies()
        webhooks = bodies.of_webhooks()
        until = asyncio.Event()
        crowd = [
            asyncio.create_task(read(webhooks, f"192.0.2.{number}", 2 * MIB, until))
            for number in range(40)
        ]
        producers = [
            asyncio.create_task(read(bodies, f"http:{number}", 8 * MIB, until))
            for number in range(6)
        ]
        for _ in range(400):
            await asyncio.sleep(0)
        until.set()
        assert await asyncio.gather(*producers) == [0] * 6
        found = await asyncio.gather(*crowd)
        assert found.count(0) == WEBHOOK_BYTES // (2 * MIB)
        # All of it was given back.
        many = [read(bodies, str(n % 8), 8 * MIB, until) for n in range(BODY_BYTES // (8 * MIB))]
        assert await asyncio.gather(*many) == [0] * len(many)

    asyncio.run(run())


def test_a_body_that_is_too_large_is_not_kept() -> None:
    async def run() -> None:
        bodies = Bodies()
        until = asyncio.Event()
        until.set()
        for _ in range(20):
            assert await read(bodies, "a", 9 * MIB, until) == 413
        assert await read(bodies, "a", 8 * MIB, until) == 0

    asyncio.run(run())


class Waiting(IntakeLink):
    """A daemon that never answers."""

    under_way = 0

    async def _exchange(self, _: bytes, __: Sequence[bytes]) -> list[dict[str, Any]]:
        self.under_way += 1
        await asyncio.Event().wait()
        return []


def test_one_source_does_not_take_all_places(tmp_path: Path) -> None:
    async def run() -> None:
        intake = Waiting(tmp_path / "intake")

        def hand_over(source: str) -> "asyncio.Task[object]":
            return asyncio.create_task(intake.hand_over(Head(source, "m", None), [b"{}"]))

        waiting = [hand_over("http:a") for _ in range(AT_ONCE_EACH)]
        await asyncio.sleep(0)
        refused = hand_over("http:a")
        await asyncio.wait({refused})
        assert isinstance(refused.exception(), ProblemError)
        other = hand_over("http:b")
        await asyncio.sleep(0)
        assert not other.done()
        for each in (*waiting, other):
            each.cancel()
        await asyncio.wait({*waiting, other})
        again = hand_over("http:a")
        await asyncio.sleep(0)
        assert not again.done(), "their places were given back"
        again.cancel()
        await asyncio.wait({again})

    asyncio.run(run())


def test_producers_and_webhooks_keep_each_other_out_of_nothing(tmp_path: Path) -> None:
    async def run() -> None:
        intake = Waiting(tmp_path / "intake")
        waiting: list[asyncio.Task[object]] = []

        async def begun(*works: Coroutine[Any, Any, object]) -> int:
            before = intake.under_way
            waiting.extend(asyncio.create_task(each) for each in works)
            await asyncio.sleep(0.01)
            return intake.under_way - before

        def hand_over(source: str) -> Coroutine[Any, Any, object]:
            return intake.hand_over(Head(source, "m", None), [b"{}"])

        half = AT_ONCE // 2
        assert await begun(*(hand_over(f"http:{n % 2}") for n in range(AT_ONCE + 1))) == AT_ONCE
        assert (
            await begun(*(intake.patiently(f"inbound {n % 4}", b"") for n in range(half))) == half
        )
        assert await begun(hand_over("http:3")) == 0, "producers have as many as they had"
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        many = (intake.patiently(f"inbound {n % 4}", b"") for n in range(2 * AT_ONCE))
        assert await begun(*many) == AT_ONCE
        assert await begun(hand_over("http:0")) == 1
        for each in waiting:
            each.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)

    asyncio.run(run())


def test_a_daemon_that_goes_away_is_an_answer_and_no_defect(tmp_path: Path) -> None:
    """It closes while it is being sent to: the task that reads its answers failed, too."""
    unheard: list[dict[str, Any]] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, context: unheard.append(context))

        async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read(10)
            writer.transport.abort()

        path = tmp_path / "intake"
        server = await asyncio.start_unix_server(close, str(path))
        async with server:
            intake = IntakeLink(path)
            for _ in range(5):
                with pytest.raises(ProblemError) as refused:
                    await intake.hand_over(Head("http:a", "m", None), [b"x" * MIB] * 4)
                assert refused.value.status == 503
        gc.collect()
        await asyncio.sleep(0)

    asyncio.run(run())
    gc.collect()
    assert unheard == []
