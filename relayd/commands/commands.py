"""All the commands of the control socket under their names, and the daemon's part of `status`."""

import os
from collections.abc import Callable
from typing import Final

import trio

from relayd import __version__
from relayd.commands.deliveries import DeliveryCommands
from relayd.commands.difference import DifferenceCommand
from relayd.commands.in_force import InForceCommand
from relayd.commands.receivers import ReceiverCommands
from relayd.commands.rejected import RejectedCommands
from relayd.commands.requests import Answer, Request, answering
from relayd.config.config import Config
from relayd.config_loader import ConfigLoader
from relayd.control import Command
from relayd.delivery.dispatch import Dispatch, MakeTransport
from relayd.intake import Intake
from relayd.queue.interface import QueueWriter
from relayd.queue.retention import Pruning
from relayd.source_tasks import SourceTasks

_LOOK_S: Final = 0.5


class Commands:
    """Does what the operator's commands ask for.

    `changing` is held while the configuration changes; `clock` gives Unix seconds, `uptime` the
    seconds for which relayd has run, which no step of the system's clock changes.
    """

    def __init__(
        self,
        config: Config,
        *,
        queue: QueueWriter,
        dispatch: Dispatch,
        intake: Intake,
        sources: SourceTasks,
        pruning: Pruning,
        loader: ConfigLoader,
        changing: trio.Lock,
        make_transport: MakeTransport,
        clock: Callable[[], float],
        uptime: Callable[[], float],
        reserve_in_use: Callable[[], bool],
    ) -> None:
        self._config = config
        self._dispatch = dispatch
        self._sources = sources
        self._pruning = pruning
        self._clock = clock
        self._uptime = uptime
        self._reserve_in_use = reserve_in_use
        self._looking = trio.CapacityLimiter(1)
        self._deliveries = DeliveryCommands(config, queue, dispatch, changing)
        self._rejected = RejectedCommands(config, queue, intake, clock)
        self._difference = DifferenceCommand(config, queue, loader)
        self.in_force = InForceCommand(config, clock)
        self._receivers = ReceiverCommands(config, queue, dispatch, make_transport, clock)

    def apply(self, config: Config) -> None:
        """Answer by this configuration from now on."""
        self._config = config
        self._deliveries.config = config
        self._rejected.config = config
        self._receivers.config = config
        self._difference.config = config
        self.in_force.config = config

    def by_name(self) -> dict[str, Command]:
        """Return the commands as the control socket takes them."""
        commands = {
            "status": self._status,
            "replay": self._deliveries.replay,
            "retry": self._deliveries.retry,
            "cancel": self._deliveries.cancel,
            "backfill": self._deliveries.backfill,
            "in_flight": self._deliveries.in_flight,
            "pause": self._deliveries.pause,
            "resume": self._deliveries.resume,
            "resubmit": self._rejected.resubmit,
            "drop": self._rejected.drop,
            "test": self._receivers.test,
            "difference": self._difference.difference,
            "in_force": self.in_force.in_force,
        }
        return {name: answering(command) for name, command in commands.items()}

    async def _status(self, _: Request) -> Answer:
        """Say what only the process knows: its buckets, and what its sources wait for."""
        config = self._config
        uptime_s = self._uptime()
        return {
            "version": __version__,
            "pid": os.getpid(),
            "config": str(config.path),
            # By the clock as it is set now.
            "started_at": self._clock() - uptime_s,
            "uptime_s": uptime_s,
            "kept_back": self._dispatch.kept_back or None,
            "endpoints": {
                url: {
                    "tokens": standing.tokens,
                    "burst": standing.endpoint.rate.burst,
                    "rate_limit": str(standing.endpoint.rate),
                    "refill_per_s": standing.endpoint.rate.refill_per_s,
                    "in_flight": standing.in_flight,
                    "allowed_in_flight": standing.health.allowed_in_flight(standing.endpoint),
                }
                for url, standing in self._dispatch.standing().items()
            },
            "sources": [
                {
                    "name": name,
                    "path": standing.path,
                    "waits_for": standing.waits_for,
                    "waited_s": standing.waited_s,
                    **standing.details,
                }
                for name, standing in self._sources.standing().items()
            ],
            "inbound": [
                {"name": each.name, "provider": each.provider.value}
                for each in config.inbound.values()
            ],
            "queue": {
                "max_size_bytes": config.queue.max_bytes,
                "too_large": self._pruning.too_large,
                "reserve_in_use": await self._look_at_reserve(),
            },
        }

    async def _look_at_reserve(self) -> bool:
        """Return whether the reserve is in use; False where the disk does not say so in time.

        In one thread: a disk that hangs must hold up neither the loop nor who asks next.
        """
        with trio.move_on_after(_LOOK_S):
            return await trio.to_thread.run_sync(
                self._reserve_in_use, abandon_on_cancel=True, limiter=self._looking
            )
        return False
