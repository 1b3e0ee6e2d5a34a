"""Goes over to the configuration that is on disk: reads it, and applies it as a whole, or refuses it."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog
import trio

from relayd.commands.commands import Commands
from relayd.commands.consequences import Consequences, affected
from relayd.config.config import Config
from relayd.config.difference import Difference, difference_in_parts
from relayd.config.problem import ConfigError
from relayd.config_loader import ConfigLoader, NotReadError
from relayd.containment import is_defect
from relayd.core.matching import Matcher
from relayd.core.operating_events import Refusals, Refused, reload_refused
from relayd.core.own_events import wanted_types
from relayd.core.parts import Parts
from relayd.delivery.dispatch import Dispatch
from relayd.intake import Intake, matcher_for
from relayd.log import Log
from relayd.merged_calls import MergedCalls
from relayd.pacing import paced
from relayd.queue.interface import QueueError, QueueWriter
from relayd.queue.retention import Pruning
from relayd.queue.values import Declared
from relayd.source_tasks import SourceTasks
from relayd.sources.source import SourceError
from relayd.systemd import Service
from relayd.web_file import WebFile

_log = structlog.get_logger()

Declarations = tuple[list[Declared], frozenset[str]]
"""What the queue is to know of a configuration: its subscriptions, and relayd's own events."""


class ReloadRefusedError(Exception):
    """A reload changed nothing. `code` is `configuration` when the file is at fault."""

    def __init__(self, code: str, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.code = code
        self.problems = problems


class Reload:
    """Reloads, one at a time. `config` is the configuration in force.

    `changing` is held while that changes. While `stopping` is set, a reload is refused.
    """

    def __init__(
        self,
        config: Config,
        *,
        queue: QueueWriter,
        intake: Intake,
        sources: SourceTasks,
        dispatch: Dispatch,
        commands: Commands,
        pruning: Pruning,
        loader: ConfigLoader,
        log: Log,
        service: Service,
        web_file: WebFile,
        refusals: Refusals,
        changing: trio.Lock,
        stopping: trio.Event,
        clock: Callable[[], float],
    ) -> None:
        self.config = config
        self._queue = queue
        self._intake = intake
        self._sources = sources
        self._dispatch = dispatch
        self._commands = commands
        self._pruning = pruning
        self._loader = loader
        self._logging = log
        self._service = service
        self._web_file = web_file
        self._changing = changing
        self._stopping = stopping
        self._clock = clock
        self._refusals = refusals
        self._runs = MergedCalls(self._run)

    async def run(self, _: Mapping[str, Any] | None = None) -> dict[str, object]:
        """Read the configuration again, and apply it as a whole, or refuse it as a whole.

        All who ask while a reload runs share the next one, and its answer.
        Returns `{"ok": True, "changes": [...], "released": {...}, "no_longer_held": {...},
        "warnings": [...]}`, or `{"ok": False, "code": "configuration" or "failed", "problems":
        [...]}`.
        """
        return await self._runs.call()

    async def _run(self) -> dict[str, object]:
        self._service.reloading()
        in_force = self._commands.in_force
        in_force.reloading = True
        problems: list[str] | None = None
        try:
            changes, consequences = await self._reload()
            problems = []
        except ReloadRefusedError as refused:
            problems = refused.problems
            for problem in problems:
                _log.error("reload_refused", detail=problem)
            await self._report(refused.code, problems)
            return {"ok": False, "code": refused.code, "problems": problems}
        except Exception as error:
            if not is_defect(error):
                raise
            _log.exception("reload_failed")
            problems = ["internal error; relayd's log has the traceback"]
            await self._report("failed", problems)
            return {"ok": False, "code": "failed", "problems": problems}
        finally:
            in_force.reload_ended(problems)
            self._service.ready(self.status())
        self._refusals.accepted()
        _log.info("configuration_reloaded", changes=changes, **consequences.document())
        warnings = [str(warning) for warning in self.config.warnings]
        return {"ok": True, "changes": changes, **consequences.document(), "warnings": warnings}

    async def _report(self, code: str, problems: Sequence[str]) -> None:
        """Make `relayd.reload.refused` durable, or count it; not while relayd is stopping."""
        if self._stopping.is_set():
            return
        now = self._clock()
        happened = Refused(code, tuple(problems), 1, now)
        refused = self._refusals.refused(happened, trio.current_time())
        if refused is None:
            return
        try:
            await self._queue.report([reload_refused(refused, now)])
        except QueueError as error:
            self._refusals.put_back(refused)
            _log.warning("queue_unavailable", detail=str(error))

    def status(self) -> str:
        """Return what the service manager shows."""
        config = self.config
        return f"{len(config.subscriptions)} subscriptions, {len(config.endpoints)} endpoints"

    async def _reload(self) -> tuple[list[str], Consequences]:
        self._check_running()
        old = self.config
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
        declared = await paced(declarations(config, self._queue.tag))
        # Only now: the operator can go on pausing and resuming while the file is read.
        async with self._changing:
            return await self._change(config, matcher, declared, changed)

    async def _change(
        self, config: Config, matcher: Matcher, declared: Declarations, changed: Difference
    ) -> tuple[list[str], Consequences]:
        """Go over to another configuration; return what changed, in words, and what of it."""
        self._check_running()
        names = affected(changed)
        try:
            waiting = await self._queue.looks.waiting(names)
            prepared = self._sources.prepare(config)
        except (SourceError, QueueError) as error:
            raise ReloadRefusedError("failed", [str(error)]) from None
        # What is released is attempted once before its time: as the new configuration has it.
        self._dispatch.leave(changed.released)
        try:
            released = await self._queue.declare(*declared)
            self._check_running()
        except BaseException as error:
            prepared.give_up()
            with trio.CancelScope(shield=True):
                await paced(self._dispatch.applying(self.config))
            if isinstance(error, QueueError):
                raise ReloadRefusedError("failed", [str(error)]) from None
            raise
        # From here on nothing waits: what is taken in goes by the new configuration, all at once.
        self._intake.apply(config, matcher)
        self.config = config
        self._sources.apply(config, prepared)
        self._commands.apply(config)
        self._pruning.apply(config.queue)
        self._logging.configure(config.log.level)
        # The endpoints follow one by one, but never in part: it ends only where relayd stops.
        with trio.CancelScope(shield=True):
            await paced(self._dispatch.applying(config, changed.released))
        await self._web_file.follow(config)
        for warning in config.warnings:
            _log.warning("configuration_warning", detail=str(warning))
        held_until = {
            name: until
            for name in released
            if (until := self._dispatch.held_until(config.subscriptions[name].url)) is not None
        }
        consequences = Consequences(
            changed, waiting, config, released, self._queue.holds, held_until
        )
        return changed.lines(consequences.notes()), consequences

    def _check_running(self) -> None:
        if self._stopping.is_set():
            raise ReloadRefusedError("failed", ["relayd is stopping"])


def declarations(config: Config, tag: str) -> Parts[Declarations]:
    """Return what the queue, which has this tag, is to know of a configuration, for `declare`."""
    key = tag.encode()
    declared = []
    for each in config.subscriptions.values():
        order_by = each.selection.order_by
        keeps_place = order_by is not None and order_by.hold
        made_with = each.made_with(key, config.endpoints[each.url])
        declared.append(Declared(each.name, each.url, each.active, made_with, keeps_place))
        yield
    wanted = (each.selection for each in config.subscriptions.values() if each.active)
    return declared, wanted_types(wanted)
