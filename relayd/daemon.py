"""The daemon: its task tree, how it starts, takes up a new configuration, and stops.

Three nurseries, one in the other: this one owns the signals, the queue and the configuration;
inside it dispatch has its tasks; inside that the sources have theirs. So shutting down from the
inside out takes in nothing more, then lets attempts finish.
"""

import os
import random
import signal
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import httpx
import structlog
import trio

from relayd import __version__
from relayd.at_work import AtWork
from relayd.commands.commands import Commands
from relayd.commands.consequences import Consequences, affected
from relayd.config.config import Config
from relayd.config.difference import Difference, difference_in_parts
from relayd.config.problem import ConfigError
from relayd.config_loader import ConfigLoader, NotReadError
from relayd.containment import contained, is_defect
from relayd.control import LINE_BYTES, MODE, ControlLines
from relayd.core.addresses import Network
from relayd.core.delivery import delivery_id
from relayd.core.endpoint import Endpoint
from relayd.core.matching import Matcher
from relayd.core.own_events import wanted_types
from relayd.core.parts import Parts, whole
from relayd.core.poison import DEATHS, obituary
from relayd.database import sqlite_loop
from relayd.delivery.dispatch import Dispatch
from relayd.intake import Intake, matcher_for
from relayd.log import Log
from relayd.orphans import reap_orphans
from relayd.pacing import paced
from relayd.queue.interface import QueueError, QueueWriter
from relayd.queue.retention import Pruning
from relayd.queue.sqlite.integrity import check_at_start, check_whole
from relayd.queue.sqlite.lock import locked
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.reserve import reserve_of
from relayd.queue.sqlite.wal_watch import WalWatch
from relayd.queue.values import Declared
from relayd.service import Service
from relayd.source_tasks import SourceTasks
from relayd.sources.line_server import LineServer
from relayd.sources.unix_socket import SocketPathError, bind_unix
from relayd.timekeeping import Clock, Timekeeping, step_at_start
from relayd.transport.client import Transport
from relayd.transport.connection import tls_context
from relayd.transport.dialer import AddressGuard
from relayd.transport.resolver import Resolver
from relayd.watchdog import Watchdog

_log = structlog.get_logger()

GRACE_S = 10.0
"""How long attempts in flight may go on after SIGTERM. What does not finish counts for nothing."""


async def run_daemon(config: Config, log: Log, service: Service) -> None:
    """Run until SIGTERM or SIGINT; a second one ends it at once, without waiting for attempts.

    Raises `QueueLockedError`, `SchemaMismatchError`, `QueueError`, `SocketPathError` or
    `OSError`, alone or in an exception group, when it cannot start or go on.
    """
    with (
        trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals,
        locked(config.queue.lock_path) as lock,
    ):
        reserve_of(config.queue.path).make_room()
        crashed = not lock.ended_in_order
        with AtWork.recorded(config.queue.work_path, after_crash=crashed) as at_work:
            await _run(config, log, service, signals, at_work=at_work, crashed=crashed)


async def _run(
    config: Config,
    log: Log,
    service: Service,
    signals: AsyncIterator[int],
    *,
    at_work: AtWork,
    crashed: bool,
) -> None:
    async with sqlite_loop():
        checked = await check_at_start(config.queue.path)
        clock = Clock()
        async with (
            open_queue(config.queue.path, clock.now) as queue,
            trio.open_nursery() as nursery,
        ):
            daemon = Daemon(config, queue, log=log, service=service, clock=clock, at_work=at_work)
            nursery.start_soon(daemon.obey, signals, nursery.cancel_scope)
            if not checked and crashed:
                nursery.start_soon(check_whole, config.queue.path)
            await daemon.run()
            nursery.cancel_scope.cancel()


Declarations = tuple[list[Declared], frozenset[str]]
"""What the queue is to know of a configuration: its subscriptions, and relayd's own events."""


class ReloadRefusedError(Exception):
    """A reload changed nothing. `code` is `configuration` when the file is at fault."""

    def __init__(self, code: str, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.code = code
        self.problems = problems


class Daemon:
    """Everything that lives as long as the process does."""

    def __init__(
        self,
        config: Config,
        queue: QueueWriter,
        *,
        log: Log,
        service: Service,
        clock: Clock,
        at_work: AtWork,
    ) -> None:
        self._config = config
        self._queue = queue
        self._clock = clock
        self._logging = log
        self._service = service
        self._at_work = at_work
        self._tls = tls_context()
        self._resolver = Resolver()
        self._stop = trio.Event()
        self._loader = ConfigLoader()
        self._reloading = trio.Lock()
        self._changing = trio.Lock()
        self._sources: SourceTasks | None = None
        self._dispatch: Dispatch
        self._intake: Intake
        self._commands: Commands
        self._pruning = Pruning(queue, config.queue, clock.now, clock.steadiness)

    async def run(self) -> None:
        """Deliver and take in until told to stop."""
        config = self._config
        step = await step_at_start(self._clock, self._queue)
        self._dispatch = Dispatch(
            self._queue,
            health=await self._queue.health(),
            make_transport=self._make_transport,
            at_work=self._at_work,
            clock=self._clock.now,
            jitter=lambda: random.uniform(-1.0, 1.0),  # noqa: S311 - spreads load, guards nothing
        )
        self._intake = Intake(self._queue, config, self._dispatch.wake, self._at_work)
        released = await self._queue.declare(*whole(self._declared(config)))
        if released:
            _log.info(
                "retries_released",
                released=dict(released),
                detail="the url, secret, headers or signature changed while relayd was down",
            )
        async with trio.open_nursery() as dispatching:
            await dispatching.start(self._dispatch.run)
            self._dispatch.apply(config)
            keeping = Timekeeping(self._clock, self._queue, self._dispatch)
            async with trio.open_nursery() as taking_in:
                self._sources = SourceTasks(
                    taking_in,
                    self._intake,
                    config,
                    outbox=self._queue,
                    at_work=self._at_work,
                    clock=self._clock.now,
                    is_behind=self._dispatch.is_behind,
                    passed=self._service.passed,
                )
                self._sources.apply(config, self._sources.prepare(config))
                self._commands = Commands(
                    config,
                    queue=self._queue,
                    dispatch=self._dispatch,
                    intake=self._intake,
                    sources=self._sources,
                    pruning=self._pruning,
                    loader=self._loader,
                    changing=self._changing,
                    make_transport=self._make_transport,
                    clock=self._clock.now,
                    uptime=self._clock.age,
                )
                taking_in.start_soon(contained, partial(keeping.run, step), "timekeeping")
                taking_in.start_soon(contained, self._pruning.run, "pruning")
                taking_in.start_soon(contained, WalWatch(config.queue.path).run, "WAL watch")
                taking_in.start_soon(reap_orphans, self._children)
                await self._serve_control(taking_in)
                if self._service.watchdog_s is not None:
                    taking_in.start_soon(self._watchdog(self._service.watchdog_s).run)
                self._started()
                await self._stop.wait()
                self._service.stopping("finishing attempts in flight")
                _log.info("stopping", grace_s=GRACE_S)
                # At once, not when the sources have ended: slow commits may hold them up.
                self._dispatch.stop()
                dispatching.cancel_scope.deadline = trio.current_time() + GRACE_S
                taking_in.cancel_scope.cancel()
        _log.info("stopped")

    async def obey(self, signals: AsyncIterator[int], everything: trio.CancelScope) -> None:
        """Do what the signals say, until cancelled."""
        # One that comes during a reload has the file read once more; further ones add nothing.
        hang_ups, wanted = trio.open_memory_channel[None](1)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._reload_on_hang_up, wanted)
            async for number in signals:
                if number == signal.SIGHUP:
                    with suppress(trio.WouldBlock):
                        hang_ups.send_nowait(None)
                elif self._stop.is_set():
                    _log.warning("stopped_at_once")
                    everything.cancel()
                else:
                    self._stop.set()

    async def _reload_on_hang_up(self, wanted: trio.MemoryReceiveChannel[None]) -> None:
        async for _ in wanted:
            await self.reload()

    async def reload(self, _: Mapping[str, Any] | None = None) -> dict[str, object]:
        """Read the configuration again, and apply it as a whole, or refuse it as a whole.

        Returns `{"ok": True, "changes": [...], "released": {...}, "no_longer_held": {...},
        "warnings": [...]}`, or `{"ok": False, "code": "configuration" or "failed", "problems":
        [...]}`. While relayd stops, it is refused.
        """
        async with self._reloading:
            self._service.reloading()
            try:
                changes, consequences = await self._reload()
            except ReloadRefusedError as refused:
                for problem in refused.problems:
                    _log.error("reload_refused", detail=problem)
                return {"ok": False, "code": refused.code, "problems": refused.problems}
            except Exception as error:
                if not is_defect(error):
                    raise
                _log.exception("reload_failed")
                problem = "internal error; relayd's log has the traceback"
                return {"ok": False, "code": "failed", "problems": [problem]}
            finally:
                self._service.ready(self._status())
            _log.info("reloaded", changes=changes, **consequences.document())
            warnings = [str(warning) for warning in self._config.warnings]
            return {
                "ok": True,
                "changes": changes,
                **consequences.document(),
                "warnings": warnings,
            }

    async def _reload(self) -> tuple[list[str], Consequences]:
        self._running_sources()
        old = self._config
        try:
            config = await self._loader.load(old.path, old)
        except ConfigError as error:
            problems = [str(problem) for problem in error.problems]
            raise ReloadRefusedError("configuration", problems) from None
        except NotReadError as error:
            raise ReloadRefusedError("failed", [str(error)]) from None
        changed = await paced(difference_in_parts(old, config))
        if changed.needs_restart:
            problems = [f"{key}: changing it needs a restart" for key in changed.needs_restart]
            raise ReloadRefusedError("configuration", problems)
        matcher = await paced(matcher_for(config))
        declared = await paced(self._declared(config))
        # Only now: the operator can go on pausing and resuming while the file is read.
        async with self._changing:
            return await self._change(config, matcher, declared, changed)

    async def _change(
        self, config: Config, matcher: Matcher, declared: Declarations, changed: Difference
    ) -> tuple[list[str], Consequences]:
        """Go over to another configuration; return what changed, in words, and what of it."""
        sources = self._running_sources()
        names = affected(changed)
        try:
            waiting = await self._queue.looks.waiting(names)
            prepared = sources.prepare(config)
        except (SocketPathError, QueueError) as error:
            raise ReloadRefusedError("failed", [str(error)]) from None
        try:
            released = await self._queue.declare(*declared)
            self._running_sources()
        except QueueError as error:
            await prepared.give_up()
            raise ReloadRefusedError("failed", [str(error)]) from None
        except BaseException:
            with trio.CancelScope(shield=True):
                await prepared.give_up()
            raise
        # From here on nothing waits: what is taken in goes by the new configuration, all at once.
        self._intake.apply(config, matcher)
        self._config = config
        sources.apply(config, prepared)
        self._commands.apply(config)
        self._pruning.apply(config.queue)
        self._logging.configure(config.log.level)
        # The endpoints follow one by one, but never in part: it ends only where relayd stops.
        with trio.CancelScope(shield=True):
            await paced(self._dispatch.applying(config, changed.released))
        for warning in config.warnings:
            _log.warning("configuration_warning", detail=str(warning))
        consequences = Consequences(changed, waiting, config, released, self._queue.holds)
        return changed.lines(consequences.notes()), consequences

    def _running_sources(self) -> SourceTasks:
        """Return the sources of a daemon that takes a new configuration, or refuse the reload."""
        if self._sources is None:
            raise ReloadRefusedError("failed", ["relayd is still starting; try again"])
        if self._stop.is_set():
            raise ReloadRefusedError("failed", ["relayd is stopping"])
        return self._sources

    def _declared(self, config: Config) -> Parts[Declarations]:
        """Return what the queue is to know of the configuration, for `declare`."""
        key = self._queue.tag.encode()
        declared = []
        for each in config.subscriptions.values():
            declared.append(Declared(each.name, each.url, each.active, each.made_with(key)))
            yield
        wanted = (each.selection for each in config.subscriptions.values() if each.active)
        return declared, wanted_types(wanted)

    def _children(self) -> list[int]:
        """Return the process numbers of this process's own children."""
        readers = [] if self._sources is None else self._sources.children()
        return [*readers, *self._loader.children()]

    def _make_transport(self, endpoint: Endpoint, networks: Sequence[Network]) -> Transport:
        guard = AddressGuard(networks, resolve=self._resolver.resolve)
        return Transport(httpx.URL(endpoint.url), guard=guard, tls=self._tls)

    async def _serve_control(self, nursery: trio.Nursery) -> None:
        control = ControlLines({"reload": self.reload, **self._commands.by_name()})
        # An operator always gets in: an idle connection makes room.
        server = LineServer(
            control.answer, name="control", line_bytes=LINE_BYTES, connections=20, gives_way_s=1.0
        )
        nursery.start_soon(server.serve, bind_unix(self._config.queue.control_path, MODE))

    def _watchdog(self, allowed_s: float) -> Watchdog:
        return Watchdog(
            allowed_s,
            queue=self._queue,
            pulses=self._dispatch.pulses,
            feed=self._service.alive,
        )

    def _started(self) -> None:
        config = self._config
        _log.info(
            "started",
            version=__version__,
            pid=os.getpid(),
            config=str(config.path),
            subscriptions=len(config.subscriptions),
            endpoints=len(config.endpoints),
            spools=[spool.name for spool in config.spools],
            socket=None if config.socket is None else str(config.socket.path),
        )
        self._tell_death()
        for warning in config.warnings:
            _log.warning("configuration_warning", detail=str(warning))
        self._service.ready(self._status())

    def _tell_death(self) -> None:
        """Say what the process before this one died at, if at anything."""
        key = self._at_work.died_at
        if key is None:
            return
        deaths = self._at_work.deaths.count(key)
        where = {"delivery_id": delivery_id(self._queue.tag, key)} if key > 0 else {}
        tell = _log.warning if deaths < DEATHS else _log.error
        tell("died_at_work", **where, deaths=deaths, detail=obituary(key, deaths))

    def _status(self) -> str:
        config = self._config
        return f"{len(config.subscriptions)} subscriptions, {len(config.endpoints)} endpoints"
