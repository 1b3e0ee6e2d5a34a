"""How long a webhook waits for the daemon: what it is answered while that is down, restarts, or can store nothing."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from relayd.web import intake_link
from relayd.web.intake_link import AT_ONCE_PATIENTLY, IntakeLink
from relayd.web.problem import ProblemError

OK = {"ok": True, "id": "evt_1"}


class Daemon:
    """Answers one line a connection, as the script says; None breaks the connection off."""

    def __init__(self, path: Path, answers: Sequence[dict[str, object] | None]) -> None:
        self.path = path
        self.answers = list(answers)
        self.lines: list[bytes] = []
        self.at_once = self.most_at_once = 0
        self.takes_s = 0.0

    async def start(self) -> asyncio.Server:
        return await asyncio.start_unix_server(self._serve, str(self.path))

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.lines.append(await reader.readline())
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(self.takes_s)
        self.at_once -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if answer is not None:
            writer.write(json.dumps(answer).encode() + b"\n")
            await writer.drain()
        writer.close()


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.timeout(30):
            await test()

    asyncio.run(within())


@pytest.fixture(autouse=True)
def _less_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake_link, "PATIENCE_S", 2.0)


def test_a_restart_is_waited_for(tmp_path: Path) -> None:
    async def test() -> None:
        daemon = Daemon(tmp_path / "s", [OK])
        waiting = asyncio.create_task(IntakeLink(daemon.path).patiently("inbound a", b"line"))
        await asyncio.sleep(0.2)
        assert not waiting.done()
        async with await daemon.start():
            assert await waiting == OK

    run(test)


def test_what_breaks_off_or_cannot_be_stored_is_handed_over_again(tmp_path: Path) -> None:
    async def test() -> None:
        unavailable: dict[str, object] = {"ok": False, "code": "unavailable"}
        daemon = Daemon(tmp_path / "s", [None, unavailable, None, OK])
        async with await daemon.start():
            assert await IntakeLink(daemon.path).patiently("inbound a", b"line") == OK
        assert daemon.lines == [b"line\n"] * 4

    run(test)


@pytest.mark.parametrize("answer", [None, {"ok": False, "code": "unavailable"}])
def test_after_that_it_is_503(tmp_path: Path, answer: dict[str, object] | None) -> None:
    async def test() -> None:
        daemon = Daemon(tmp_path / "s", [answer])
        async with await daemon.start():
            with pytest.raises(ProblemError) as raised:
                await IntakeLink(daemon.path).patiently("inbound a", b"line")
        assert 3 <= len(daemon.lines) <= 10, "it is asked less and less often"
        assert raised.value.response().status_code == 503
        assert raised.value.response().headers["Retry-After"] == "5"

    run(test)


def test_a_refusal_is_not_tried_again(tmp_path: Path) -> None:
    async def test() -> None:
        refused: dict[str, object] = {"ok": False, "code": "id_conflict"}
        daemon = Daemon(tmp_path / "s", [refused, OK])
        async with await daemon.start():
            assert await IntakeLink(daemon.path).patiently("inbound a", b"line") == refused

    run(test)


def test_many_at_once_take_turns_and_none_is_turned_away(tmp_path: Path) -> None:
    async def test() -> None:
        daemon = Daemon(tmp_path / "s", [OK])
        daemon.takes_s = 0.01
        async with await daemon.start():
            link = IntakeLink(daemon.path)
            found = await asyncio.gather(
                *(link.patiently(f"inbound {number % 4}", b"line") for number in range(200))
            )
        assert found == [OK] * 200
        assert daemon.most_at_once <= 4 * AT_ONCE_PATIENTLY

    run(test)
