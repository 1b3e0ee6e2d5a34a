"""The resolver's threads: few, whatever hangs, and never those of names that answer."""

import threading
import time
from collections.abc import Callable, Iterator
from ipaddress import ip_network

import pytest
import trio
from trio.testing import wait_all_tasks_blocked

from relayd.transport.dialer import AddressGuard
from relayd.transport.resolver import FOR_HANGING, FOR_NEW, HANGS_S, THREADS, Resolver

ADDRESS = "198.41.0.4"


class Names:
    """A DNS whose names below `.hangs` are not answered until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.asked: list[str] = []

    def look_up(self, host: str, _ip: int | None) -> list[str]:
        self.asked.append(host)
        if host.endswith(".hangs"):
            self.released.wait(60)
        if host.endswith(".missing"):
            raise OSError("no such name")
        return [ADDRESS]


@pytest.fixture
def names() -> Iterator[Names]:
    made = Names()
    yield made
    made.released.set()


async def until(holds: Callable[[], bool]) -> None:
    with trio.fail_after(10):
        while not holds():
            await trio.sleep(0.01)


async def give_up_soon(resolving: Resolver, host: str) -> None:
    with trio.move_on_after(0.2):
        await resolving.resolve(host, 443)


async def test_500_names_that_hang_take_few_threads_and_delay_no_name_that_answers(
    names: Names,
) -> None:
    resolving = Resolver(names.look_up)
    for number in range(20):
        await resolving.resolve(f"{number}.answers", 443)
    threads = threading.active_count()
    async with trio.open_nursery() as nursery:
        for number in range(500):
            nursery.start_soon(give_up_soon, resolving, f"{number}.hangs")
    assert resolving.threads == FOR_NEW, "a look-up that was given up still has its thread"
    assert threading.active_count() <= threads + FOR_NEW
    began = time.monotonic()
    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(resolving.resolve, f"{number}.answers", 443)
    assert time.monotonic() - began < HANGS_S
    assert trio.to_thread.current_default_thread_limiter().borrowed_tokens == 0

    # Those that hung are known as such once they end, and leave threads to new names, too.
    await trio.sleep(HANGS_S)
    hung = [host for host in names.asked if host.endswith(".hangs")]
    names.released.set()
    await until(lambda: resolving.threads == 0)
    names.released.clear()
    async with trio.open_nursery() as nursery:
        for host in hung:
            nursery.start_soon(give_up_soon, resolving, host)
    assert resolving.threads == FOR_HANGING < len(hung)
    with trio.fail_after(HANGS_S):
        await resolving.resolve("new.answers", 443)


async def test_threads_are_bounded_even_for_names_that_answered(names: Names) -> None:
    resolving = Resolver(names.look_up)
    names.released.set()
    for number in range(100):
        await resolving.resolve(f"{number}.hangs", 443)
    names.released.clear()
    async with trio.open_nursery() as nursery:
        for number in range(100):
            nursery.start_soon(give_up_soon, resolving, f"{number}.hangs")
    assert resolving.threads == THREADS


async def test_a_name_is_looked_up_once_for_all_who_wait(names: Names) -> None:
    resolving = Resolver(names.look_up)
    found: list[list[str]] = []

    async def resolve() -> None:
        found.append([str(each) for each in await resolving.resolve("one.hangs", 443)])

    async with trio.open_nursery() as nursery:
        for _ in range(50):
            nursery.start_soon(resolve)
        nursery.start_soon(give_up_soon, resolving, "one.hangs")
        await wait_all_tasks_blocked()
        assert resolving.threads == 1
        await trio.sleep(0.3)
        names.released.set()
    assert found == [[ADDRESS]] * 50
    assert names.asked == ["one.hangs"]


async def test_an_error_goes_to_all_who_wait_and_the_name_is_asked_again(names: Names) -> None:
    resolving = Resolver(names.look_up)
    for _ in range(2):
        with pytest.raises(OSError, match="no such name"):
            await resolving.resolve("no.missing", 443)
    assert names.asked == ["no.missing"] * 2


async def test_what_nobody_waits_for_any_more_is_not_looked_up(names: Names) -> None:
    resolving = Resolver(names.look_up)
    async with trio.open_nursery() as nursery:
        for number in range(FOR_NEW):
            nursery.start_soon(give_up_soon, resolving, f"{number}.hangs")
        await until(lambda: resolving.threads == FOR_NEW)
        with trio.move_on_after(0.05):
            await resolving.resolve("late.answers", 443)
    names.released.set()
    await until(lambda: resolving.threads == 0)
    assert "late.answers" not in names.asked


async def test_an_address_needs_no_thread(names: Names) -> None:
    guard = AddressGuard([ip_network("::1/128")], resolve=Resolver(names.look_up).resolve)
    assert [str(each) for each in await guard.addresses("::1", 443, scheme="https")] == ["::1"]
    assert names.asked == []


async def test_no_thread_left_is_a_failed_look_up(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(trio.lowlevel, "start_thread_soon", refuse)
    with pytest.raises(OSError, match="no thread"):
        await Resolver(lambda *_: []).resolve("a.example", 443)


async def test_a_name_that_is_not_ascii_is_not_valid() -> None:
    with pytest.raises(UnicodeError):
        await Resolver().resolve("bücher.example", 443)
