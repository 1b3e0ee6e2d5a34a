"""`rename` that is refused, or fails, when a part has been handed over."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from configs import sources_config

from relayd.commands.rename import RenameCommand
from relayd.commands.requests import RefusedError
from relayd.config.config import Config
from relayd.queue.interface import QueueUnavailable
from relayd.queue.values import HandoverStep

SUBSCRIPTION: Any = SimpleNamespace(
    url="https://a.example/", selection=SimpleNamespace(order_by=None)
)


def named(*names: str) -> Config:
    return replace(sources_config(), subscriptions=dict.fromkeys(names, SUBSCRIPTION))


class Daemon:
    """Hands over 2,000 deliveries a step, of 10,000; `then` is called after the second step."""

    def __init__(self, then: Callable[["Daemon"], None]) -> None:
        self.config = named("shop")
        self.holds = dict.fromkeys(("books", "shop"))
        self.steps = 0
        self._then = then

    async def hand_over(self, *_: object, after: int, **__: object) -> HandoverStep:
        await trio.lowlevel.checkpoint()
        self.steps += 1
        if self.steps == 2:
            self._then(self)
        return HandoverStep(
            moved=2_000,
            waiting=3,
            released=0,
            through=after + 2_000,
            last=10_000,
            in_flight=0,
            kept=0,
            holds_moved=False,
        )

    async def load(self, *_: object) -> Config:
        await trio.lowlevel.checkpoint()
        return self.config

    def rename(self) -> RenameCommand:
        dispatch = SimpleNamespace(
            keep_back=lambda _: None,
            apply=lambda _: None,
            wake=lambda _: None,
            in_flight_of=lambda _: (),
            held_until=lambda _: None,
        )
        return RenameCommand(
            lambda: self.config,
            queue=cast("Any", self),
            dispatch=cast("Any", dispatch),
            loader=cast("Any", self),
            changing=trio.Lock(),
            reload=cast("Any", None),
        )


def taken_back(daemon: Daemon) -> None:
    daemon.config = named("books", "shop")


def unavailable(_: Daemon) -> None:
    raise QueueUnavailable(Path("queue.db"), "the disk is full")


@pytest.mark.parametrize(
    ("then", "code", "moved"), [(taken_back, "in_use", 4_000), (unavailable, "unavailable", 2_000)]
)
async def test_what_was_handed_over_before_is_said(
    then: Callable[[Daemon], None], code: str, moved: int
) -> None:
    with pytest.raises(RefusedError) as refused:
        await Daemon(then).rename().rename({"old": "books", "new": "shop"})
    assert refused.value.code == code
    said = str(refused.value)
    assert f"{moved:,} deliveries were handed over to shop before that" in said
    assert "run again" in said


async def test_a_refusal_before_anything_was_handed_over_says_nothing_of_it() -> None:
    daemon = Daemon(lambda _: None)
    taken_back(daemon)
    with pytest.raises(RefusedError) as refused:
        await daemon.rename().rename({"old": "books", "new": "shop"})
    assert "handed over" not in str(refused.value)
    assert daemon.steps == 0


async def test_a_refusal_names_the_file_that_has_the_old_name() -> None:
    daemon = Daemon(lambda _: None)
    included = Path("/relay/subscriptions.d/books.yaml")
    daemon.config = replace(named("books"), included={"books": included})
    with pytest.raises(RefusedError) as refused:
        await daemon.rename().rename({"old": "books", "new": "shop"})
    assert f"books is still in {included}: change its name there to shop" in str(refused.value)


async def test_all_that_there_was_is_handed_over() -> None:
    answer = await Daemon(lambda _: None).rename().rename({"old": "books", "new": "shop"})
    assert (answer["moved"], answer["waiting"]) == (10_000, 15)
