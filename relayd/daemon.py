"""The daemon: its task tree, how it starts, takes up a new configuration, and stops.

Three nurseries, one in the other: this one owns the signals, the queue and the configuration;
inside it dispatch has its tasks; inside that the sources have theirs. So shutting down from the
inside out takes in nothing more, then lets attempts finish.
"""

import os
import signal
from collections.abc import AsyncIterator
from contextlib import suppress
from functools import partial

import structlog
import trio

from relayd import __version__
from relayd.assembly import assemble
from relayd.clock import Clock, step_at_start
from relayd.config.config import Config
from relayd.containment import contained
from relayd.control import MODE
from relayd.core.delivery import delivery_id
from relayd.core.parts import whole
from relayd.core.quarantine import DEATHS, obituary
from relayd.crash_journal import AtWork
from relayd.database import sqlite_loop
from relayd.log import Log
from relayd.orphans import reap_orphans
from relayd.queue.interface import QueueWriter
from relayd.queue.sqlite.integrity import check_at_start, check_whole
from relayd.queue.sqlite.lock import locked
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.place import check_place
from relayd.queue.sqlite.reserve import reserve_of
from relayd.reload import Reload, declarations
from relayd.systemd import Service
from relayd.unix_socket.listener import bind_unix

_log = structlog.get_logger()

GRACE_S = 10.0
"""How long attempts in flight may go on after SIGTERM. What does not finish counts for nothing."""


async def run_daemon(config: Config, log: Log, service: Service) -> None:
    """Run until SIGTERM or SIGINT; a second one ends it at once, without waiting for attempts.

    Raises `QueueLockedError`, `SchemaMismatchError`, `QueueError`, `SocketPathError`,
    `SourceError` or `OSError`, alone or in an exception group, when it cannot start or go on.
    """
    check_place(config.queue.path)  # before any file is made beside it
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


class Daemon:
    """A daemon from its start to its end."""

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
        self._stop = trio.Event()
        self._reload: Reload | None = None
        self._ready = trio.Event()

    async def run(self) -> None:
        """Deliver and take in until told to stop."""
        config = self._config
        step = await step_at_start(self._clock, self._queue)
        parts = await assemble(
            config,
            self._queue,
            log=self._logging,
            service=self._service,
            clock=self._clock,
            at_work=self._at_work,
            stopping=self._stop,
        )
        await self._declare()
        await parts.web_file.follow(config)
        async with trio.open_nursery() as dispatching:
            await dispatching.start(parts.dispatch.run)
            parts.dispatch.apply(config)
            async with trio.open_nursery() as taking_in:
                parts.sources.start(taking_in, config)
                taking_in.start_soon(contained, partial(parts.timekeeping.run, step), "timekeeping")
                taking_in.start_soon(contained, parts.pruning.run, "pruning")
                taking_in.start_soon(contained, parts.wal_watch.run, "WAL watch")
                taking_in.start_soon(contained, parts.notices.run, "notices")
                taking_in.start_soon(reap_orphans, parts.children)
                control = bind_unix(config.queue.control_path, MODE)
                taking_in.start_soon(parts.control.serve, control)
                if parts.watchdog is not None:
                    taking_in.start_soon(parts.watchdog.run)
                self._started(parts.reload)
                await self._stop.wait()
                self._service.stopping("finishing attempts in flight")
                _log.info("stopping", grace_s=GRACE_S)
                # At once, not when the sources have ended: slow commits may hold them up.
                parts.dispatch.stop()
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
                    _log.warning("stopped_immediately")
                    everything.cancel()
                else:
                    self._stop.set()

    async def _reload_on_hang_up(self, wanted: trio.MemoryReceiveChannel[None]) -> None:
        # One that comes during the start is obeyed after it: the file may have changed since it was read.
        await self._ready.wait()
        assert self._reload is not None
        async for _ in wanted:
            await self._reload.run()

    async def _declare(self) -> None:
        """Have the queue know the configuration, which may have changed while relayd was down."""
        released = await self._queue.declare(*whole(declarations(self._config, self._queue.tag)))
        if released:
            _log.info(
                "retries_released",
                released=dict(released),
                detail="the url, secret, headers or signature changed while relayd was down",
            )

    def _started(self, reload: Reload) -> None:
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
        self._reload = reload
        self._service.ready(reload.status())
        self._ready.set()

    def _tell_death(self) -> None:
        """Say what the process before this one died at, if at anything."""
        key = self._at_work.died_at
        if key is None:
            return
        deaths = self._at_work.deaths.count(key)
        where = {"delivery_id": delivery_id(self._queue.tag, key)} if key > 0 else {}
        tell = _log.warning if deaths < DEATHS else _log.error
        tell("crash_detected", **where, deaths=deaths, detail=obituary(key, deaths))
