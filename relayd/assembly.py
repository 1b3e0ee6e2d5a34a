"""Builds the parts of a daemon, and gives each one the others that it needs."""

import random
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import trio

from relayd.clock import Clock, Timekeeping
from relayd.commands.commands import Commands
from relayd.commands.rename import RenameCommand
from relayd.commands.requests import answering
from relayd.commands.subscription_edit import SubscriptionEditCommand
from relayd.commands.subscription_files import SubscriptionFileCommands
from relayd.config.config import Config
from relayd.config_loader import ConfigLoader
from relayd.control import CONNECTIONS, LINE_BYTES, ControlLines
from relayd.core.operating_events import Refusals
from relayd.crash_journal import AtWork
from relayd.delivery.dispatch import Dispatch
from relayd.intake import Intake
from relayd.log import Log
from relayd.notices import Notices
from relayd.queue.interface import QueueWriter
from relayd.queue.retention import Pruning
from relayd.queue.sqlite.reserve import reserve_in_use
from relayd.queue.sqlite.wal_watch import WalWatch
from relayd.reload import Reload
from relayd.source_tasks import SourceTasks
from relayd.sources.source import Surroundings
from relayd.systemd import Service
from relayd.transport.transports import Transports
from relayd.unix_socket.line_server import LineServer
from relayd.watchdog import Watchdog
from relayd.web_file import WebFile


@dataclass(frozen=True, slots=True)
class Assembly:
    """The parts that run. `watchdog` is None where the service manager has none.

    `children` returns the process numbers of this process's own children.
    """

    dispatch: Dispatch
    sources: SourceTasks
    timekeeping: Timekeeping
    pruning: Pruning
    wal_watch: WalWatch
    notices: Notices
    control: LineServer
    watchdog: Watchdog | None
    reload: Reload
    web_file: WebFile
    children: Callable[[], list[int]]


async def assemble(
    config: Config,
    queue: QueueWriter,
    *,
    log: Log,
    service: Service,
    clock: Clock,
    at_work: AtWork,
    stopping: trio.Event,
) -> Assembly:
    """Build the parts; none of them runs yet. Raises `QueueError`."""
    make_transport = Transports().make
    dispatch = Dispatch(
        queue,
        health=await queue.health(),
        make_transport=make_transport,
        at_work=at_work,
        clock=clock.now,
        jitter=partial(random.uniform, -1.0, 1.0),
    )
    intake = Intake(queue, config, dispatch.wake, at_work)
    sources = SourceTasks(
        Surroundings(
            intake,
            outbox=queue,
            at_work=at_work,
            clock=clock.now,
            is_behind=dispatch.is_behind,
            passed=service.passed,
        )
    )
    pruning = Pruning(queue, config.queue, clock.now, clock.steadiness)
    loader = ConfigLoader()
    web_file = WebFile(clock.now)
    changing = trio.Lock()
    commands = Commands(
        config,
        queue=queue,
        dispatch=dispatch,
        intake=intake,
        sources=sources,
        pruning=pruning,
        loader=loader,
        changing=changing,
        make_transport=make_transport,
        clock=clock.now,
        uptime=clock.age,
        reserve_in_use=partial(reserve_in_use, config.queue.path),
    )
    refusals = Refusals()
    reload = Reload(
        config,
        queue=queue,
        intake=intake,
        sources=sources,
        dispatch=dispatch,
        commands=commands,
        pruning=pruning,
        loader=loader,
        log=log,
        service=service,
        web_file=web_file,
        refusals=refusals,
        changing=changing,
        stopping=stopping,
        clock=clock.now,
    )
    files = SubscriptionFileCommands(lambda: reload.config, queue, loader, reload.run)
    editing = SubscriptionEditCommand(lambda: reload.config, loader, reload.run, files.turn)
    renaming = RenameCommand(
        lambda: reload.config,
        queue=queue,
        dispatch=dispatch,
        loader=loader,
        changing=changing,
        reload=reload.run,
    )
    return Assembly(
        dispatch,
        sources,
        timekeeping=Timekeeping(clock, queue, dispatch),
        pruning=pruning,
        wal_watch=WalWatch(config.queue.path),
        notices=Notices(queue, sources.standing, clock.now, refusals),
        control=_control(reload, commands, files, editing, renaming),
        watchdog=_watchdog(queue, dispatch, service),
        reload=reload,
        web_file=web_file,
        children=lambda: [
            *sources.children(),
            *loader.children(),
            *dispatch.templates.children(),
        ],
    )


def _control(
    reload: Reload,
    commands: Commands,
    files: SubscriptionFileCommands,
    editing: SubscriptionEditCommand,
    renaming: RenameCommand,
) -> LineServer:
    changing = {
        "add": answering(files.add),
        "edit": answering(editing.edit),
        "remove": answering(files.remove),
        "rename": answering(renaming.rename),
    }
    control = ControlLines({"reload": reload.run, **commands.by_name(), **changing})
    return LineServer(
        control.answer,
        name="control",
        line_bytes=LINE_BYTES,
        connections=CONNECTIONS,
        gives_way_s=1.0,
    )


def _watchdog(queue: QueueWriter, dispatch: Dispatch, service: Service) -> Watchdog | None:
    if service.watchdog_s is None:
        return None
    return Watchdog(service.watchdog_s, queue=queue, pulses=dispatch.pulses, feed=service.alive)
