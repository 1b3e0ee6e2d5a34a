"""The socket as a source: where it listens, what a reload changes of it, and what a defect does."""

import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import pytest
import trio
from configs import sources_config
from structlog.testing import capture_logs

from relayd.config.sections import SocketConfig
from relayd.containment import contained
from relayd.core.acceptance import Acceptance, Rejected, RejectedRow
from relayd.core.event import Event
from relayd.core.webhook import Webhook
from relayd.crash_journal import AtWork
from relayd.sources.socket import ProducersSocket, SocketKind
from relayd.sources.source import Outbox, SourceError, SourceIntake, Surroundings
from relayd.unix_socket.line_server import LineServer

LINE = b'{"type":"order.created","data":{}}\n'


class Intake:
    """Accepts everything."""

    paths: tuple[str, ...] = ()

    def __init__(self) -> None:
        self.markets: list[str] = []

    async def accept(
        self, events: Sequence[Event], source: str, webhooks: Sequence[Webhook] = ()
    ) -> list[Acceptance]:
        assert not webhooks
        await trio.lowlevel.checkpoint()
        assert source == "socket"
        self.markets += [event.market_id for event in events]
        return [Acceptance.ACCEPTED for _ in events]

    async def reject(self, rejected: Sequence[RejectedRow]) -> Rejected:
        raise AssertionError(f"the socket answers what it rejects, {rejected} too")


def surroundings(intake: SourceIntake, passed: Sequence[socket.socket] = ()) -> Surroundings:
    return Surroundings(
        intake,
        cast("Outbox", None),
        AtWork.unrecorded(),
        clock=lambda: 7.0,
        is_behind=lambda: False,
        passed=passed,
    )


def configured(path: Path, mode: int = 0o660, market: str = "m") -> SocketConfig:
    return SocketConfig(path, mode, market)


def made(path: Path, given: Surroundings, mode: int = 0o660) -> ProducersSocket:
    config = sources_config(socket=configured(path, mode))
    [make] = SocketKind(given).sources(config).values()
    source = make()
    assert isinstance(source, ProducersSocket)
    source.apply(config)
    return source


@asynccontextmanager
async def serving(source: ProducersSocket) -> AsyncIterator[None]:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(contained, source.run, source.name)
        yield
        nursery.cancel_scope.cancel()


async def handed_over(path: Path) -> bytes:
    """Hand over one event, as soon as somebody listens."""
    with trio.fail_after(20):
        while True:
            with suppress(OSError, trio.BrokenResourceError):
                async with await trio.open_unix_socket(path) as stream:
                    await stream.send_all(LINE)
                    if answer := await stream.receive_some():
                        return bytes(answer)
            await trio.sleep(0.05)


async def test_a_reload_changes_the_mode_and_the_market(tmp_path: Path) -> None:
    path, intake = tmp_path / "s", Intake()
    source = made(path, surroundings(intake))
    async with serving(source):
        assert b'"ok":true' in await handed_over(path)
        after = sources_config(socket=configured(path, 0o600, "other"))
        source.prepare(after)
        assert path.stat().st_mode & 0o777 == 0o600
        source.apply(after)
        assert b'"ok":true' in await handed_over(path)
    assert intake.markets == ["m", "other"]
    standing = source.standing()
    assert (standing.path, standing.waits_for, dict(standing.details)) == (str(path), None, {})


async def test_a_mode_that_cannot_be_changed_refuses_the_reload(tmp_path: Path) -> None:
    path = tmp_path / "s"
    source = made(path, surroundings(Intake()))
    path.unlink()
    source.prepare(sources_config(socket=configured(path)))
    with pytest.raises(SourceError, match="its mode cannot be changed"):
        source.prepare(sources_config(socket=configured(path, 0o600)))
    source.give_up()


async def test_a_refused_reload_leaves_the_mode_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "s"
    source = made(path, surroundings(Intake()))
    source.withdraw()
    refused = sources_config(socket=configured(path, 0o600, "other"))
    source.prepare(refused)
    source.withdraw()
    assert path.stat().st_mode & 0o777 == 0o660
    # Once one is applied there is nothing to undo.
    source.prepare(refused)
    source.apply(refused)
    path.chmod(0o640)
    source.withdraw()
    assert path.stat().st_mode & 0o777 == 0o640
    source.prepare(sources_config(socket=configured(path)))
    path.unlink()
    with capture_logs() as logs:
        source.withdraw()
    assert [line["event"] for line in logs] == ["socket_mode_not_restored"]
    source.give_up()


async def test_one_that_is_never_run_listens_no_longer(tmp_path: Path) -> None:
    path = tmp_path / "s"
    made(path, surroundings(Intake())).give_up()
    with pytest.raises(ConnectionRefusedError):
        await trio.open_unix_socket(path)
    with pytest.raises(SourceError, match="a file that is not a socket"):
        made(Path(__file__), surroundings(Intake()))


async def test_after_a_defect_it_listens_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, intake, serve = tmp_path / "s", Intake(), LineServer.serve
    defects = [RuntimeError("a defect")]

    async def faulty(self: LineServer, listener: trio.SocketListener) -> None:
        if defects:
            raise defects.pop()
        await serve(self, listener)

    monkeypatch.setattr(LineServer, "serve", faulty)
    async with serving(made(path, surroundings(intake))):
        assert b'"ok":true' in await handed_over(path)
    assert not defects


async def test_what_the_service_manager_opened_keeps_its_mode(tmp_path: Path) -> None:
    path, intake = tmp_path / "s", Intake()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as passed:
        passed.bind(str(path))
        passed.listen()
        path.chmod(0o640)
        source = made(path, surroundings(intake, [passed]))
        async with serving(source):
            assert b'"ok":true' in await handed_over(path)
            source.prepare(sources_config(socket=configured(path, 0o600)))
            assert path.stat().st_mode & 0o777 == 0o640
