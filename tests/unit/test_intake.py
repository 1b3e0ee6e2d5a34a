"""Events on their way into the queue: a defect at one of them is that one's alone."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import cast

import pytest
import trio
from events import make_event
from processes import write_config
from structlog.testing import capture_logs

from relayd.config.load import load_config
from relayd.core.acceptance import Acceptance, NewEvent, Rejected, RejectedRow, refusal
from relayd.core.event import Event
from relayd.core.matching import Matches
from relayd.core.parts import whole
from relayd.crash_journal import AtWork
from relayd.intake import Intake, matcher_for
from relayd.queue.interface import QueueError, QueueUnavailable
from relayd.queue.sqlite.queue import Queue

QUEUE = Path("queue.db")


@dataclass
class Refusing:
    """A queue that accepts, but for one event."""

    error: Exception
    accepted: list[str] = field(default_factory=list)
    bound: list[bool] = field(default_factory=list)
    most_bytes: list[int] = field(default_factory=list)
    subscriptions: list[tuple[str, ...]] = field(default_factory=list)

    async def reject(self, rejected: Sequence[RejectedRow], *, most_bytes: int) -> Rejected:
        await trio.lowlevel.checkpoint()
        self.most_bytes.append(most_bytes)
        return Rejected(rejected)

    async def accept(self, news: Sequence[NewEvent]) -> list[Acceptance]:
        await trio.lowlevel.checkpoint()
        if any(new.event.id == "evt_2" for new in news):
            raise self.error
        self.accepted += [new.event.id for new in news]
        self.bound += [new.market_bound for new in news]
        self.subscriptions += [tuple(new.subscriptions) for new in news]
        return [Acceptance.ACCEPTED] * len(news)


def intake(folder: Path, queue: Refusing) -> Intake:
    config = load_config(write_config(folder, {"books": {"url": "https://a.example"}}), environ={})
    return Intake(cast("Queue", queue), config, lambda _: None, AtWork.unrecorded())


async def test_the_limit_of_rejected_input_follows_a_reload(tmp_path: Path) -> None:
    queue = Refusing(RuntimeError("never raised"))
    taking = intake(tmp_path, queue)
    await taking.reject([])
    path = write_config(tmp_path, queue={"path": "queue.db", "max_size": "100MB"})
    config = load_config(path, environ={})
    taking.apply(config, whole(matcher_for(config)))
    await taking.reject([])
    assert queue.most_bytes == [64_000_000, 5_000_000]


async def test_a_spool_is_bound_to_its_market_unless_it_allows_others(tmp_path: Path) -> None:
    queue = Refusing(RuntimeError("never raised"))
    taking = intake(tmp_path, queue)
    spools = {
        "one": {"path": "one.db"},
        "two": {"path": "two.db", "markets": ["market_b"]},
        "all": {"path": "all.db", "markets": "*"},
    }
    config = load_config(write_config(tmp_path, spools=spools), environ={})
    taking.apply(config, whole(matcher_for(config)))
    for source in ("spool one", "relayd", "spool two", "spool all", "socket"):
        await taking.accept([make_event()], source)
    assert queue.bound == [True, True, False, False, False]


async def test_what_is_matched_while_a_reload_comes_goes_by_the_new_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Refusing(RuntimeError("never raised"))
    taking = intake(tmp_path, queue)
    reading, go_on = trio.Event(), trio.Event()
    match = taking._match_body

    async def match_slowly(event: Event) -> Matches:
        reading.set()
        await go_on.wait()
        return await match(event)

    monkeypatch.setattr(taking, "_match_body", match_slowly)
    monkeypatch.setattr(taking, "_matcher_paths", frozenset({"data.object.note"}))
    monkeypatch.setattr(taking._matcher, "of_type", lambda _: None)  # as with a condition
    quick = make_event("evt_0")
    # As a spool's reader hands over what has long values.
    long = replace(make_event("evt_1"), data=None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(taking.accept, [quick, long, make_event("evt_3")], "spool market")
        await reading.wait()
        path = write_config(tmp_path, {"shop": {"url": "https://a.example"}})
        config = load_config(path, environ={})
        taking.apply(config, whole(matcher_for(config)))
        go_on.set()
    assert queue.accepted == ["evt_0", "evt_1", "evt_3"]
    assert queue.subscriptions == [("shop",)] * 3


def events() -> list[Event]:
    return [make_event(f"evt_{number}") for number in range(5)]


@pytest.mark.parametrize("error", [ValueError("no"), QueueError(QUEUE, "UNIQUE")])
async def test_a_defect_at_one_event_is_its_own(tmp_path: Path, error: Exception) -> None:
    queue = Refusing(error)
    with capture_logs() as logs:
        results = await intake(tmp_path, queue).accept(events(), "socket")
    assert results == [
        Acceptance.DEFECT if number == 2 else Acceptance.ACCEPTED for number in range(5)
    ]
    assert queue.accepted == ["evt_0", "evt_1", "evt_3", "evt_4"]
    [line] = [line for line in logs if line["event"] == "event_internal_error"]
    assert line["event_id"] == "evt_2"
    refused = refusal(Acceptance.DEFECT, "evt_2")
    assert refused is not None
    assert refused.code == "defect"


async def test_what_matching_cannot_take_is_its_own_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Refusing(RuntimeError("never raised"))
    taking = intake(tmp_path, queue)
    match = taking._matcher.matches

    def fail(envelope: dict[str, object]) -> Matches:
        if envelope["id"] == "evt_1":
            raise RecursionError
        return match(envelope)

    monkeypatch.setattr(taking._matcher, "of_type", lambda _: None)  # as with a condition
    monkeypatch.setattr(taking._matcher, "matches", fail)
    chosen = [event for event in events() if event.id != "evt_2"]
    with capture_logs():
        results = await taking.accept(chosen, "socket")
    accepted = Acceptance.ACCEPTED
    assert results == [accepted, Acceptance.DEFECT, accepted, accepted]


async def test_a_defect_after_the_event_is_durable_does_not_refuse_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    queue = Refusing(RuntimeError("never raised"))
    taking = intake(tmp_path, queue)

    def broken(*_: object) -> None:
        raise KeyError("a defect")

    monkeypatch.setattr(taking, "_tell", broken)
    with capture_logs() as logs:
        results = await taking.accept(events()[:2], "socket")
    assert results == [Acceptance.ACCEPTED] * 2
    assert queue.accepted == ["evt_0", "evt_1"]
    assert [line["event"] for line in logs] == ["event_log_failed"] * 2


async def test_a_full_disk_is_no_defect(tmp_path: Path) -> None:
    queue = Refusing(QueueUnavailable(QUEUE, "the disk is full"))
    with pytest.raises(QueueUnavailable):
        await intake(tmp_path, queue).accept(events(), "socket")
    assert queue.accepted == []


async def test_all_else_goes_on_while_a_long_body_is_matched(tmp_path: Path) -> None:
    books = {"url": "https://a.example", "where": {"data.object.note": {"glob": "y*"}}}
    config = load_config(write_config(tmp_path, {"books": books}), environ={})
    queue = Refusing(ValueError("no"))
    taken_in = Intake(cast("Queue", queue), config, lambda _: None, AtWork.unrecorded())
    read = make_event("evt_1", data={"object": {"note": "yes", "items": [{}] * 50_000}})
    # As it comes from a reader that found values too long to send along.
    unread = replace(read, data=None, values={})
    turns = 0

    async def others() -> None:
        nonlocal turns
        while not queue.accepted:
            await trio.lowlevel.checkpoint()
            turns += 1

    with capture_logs() as logs:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(others)
            assert await taken_in.accept([unread], "spool market") == [Acceptance.ACCEPTED]
    assert turns > 10
    [line] = [line for line in logs if line["event"] == "event_accepted"]
    assert line["subscriptions"] == ["books"]
