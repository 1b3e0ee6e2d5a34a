"""`test`, while reloads change what it is about."""

from pathlib import Path
from typing import Any

import httpx
from processes import write_config

from relayd.commands.receivers import ReceiverCommands
from relayd.config.config import Config
from relayd.config.load import load_config
from relayd.delivery.template_process import TemplateProcess


class MovingDispatch:
    """A reload brings `after` while the first token is waited for."""

    def __init__(self, after: Config) -> None:
        self.after = after
        self.commands: ReceiverCommands | None = None
        self.tokens: list[str] = []

    async def take_token(self, url: str) -> None:
        self.tokens.append(url)
        assert self.commands is not None
        self.commands.config = self.after

    @property
    def templates(self) -> TemplateProcess:
        return TemplateProcess()

    def held_until(self, _: str) -> float:
        return 0.0


class Holds:
    """The queue, of which only the holds and the backlog are asked."""

    def __init__(self) -> None:
        self.holds: dict[str, Any] = {}
        self.looks = self

    async def waiting(self, _: list[str]) -> dict[str, Any]:
        return {}


async def test_a_test_takes_a_token_of_the_url_that_it_goes_to(tmp_path: Path) -> None:
    urls = ("http://127.0.0.1:1/old", "http://127.0.0.1:1/new")
    before, after = (
        load_config(write_config(tmp_path, {"books": {"url": url}}), environ={}) for url in urls
    )
    sent: list[str] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        sent.append(str(request.url))
        return httpx.Response(503)

    dispatch = MovingDispatch(after)
    queue: Any = Holds()
    commands = ReceiverCommands(
        before,
        queue,
        dispatch,  # type: ignore[arg-type]  # what `test` needs of it
        lambda *_: httpx.MockTransport(refuse),  # type: ignore[arg-type]  # likewise
        lambda: 0.0,
    )
    dispatch.commands = commands
    answer = await commands.test({"subscription": "books"})
    assert answer["status"] == 503
    assert sent == [urls[1]]
    assert dispatch.tokens == list(urls)
