"""The sources' tasks: one for each source that the configuration has, whatever its kind."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import Final

import trio

from relayd.config.config import Config
from relayd.containment import contained
from relayd.sources.own_events import OwnEventsKind
from relayd.sources.socket import SocketKind
from relayd.sources.source import Source, SourceKind, SourceStanding, Surroundings
from relayd.sources.spools import SpoolKind
from relayd.sources.web_intake import WebIntakeKind

KINDS: Final[tuple[type[SourceKind], ...]] = (
    SpoolKind,
    SocketKind,
    WebIntakeKind,
    OwnEventsKind,
)
"""The kinds of sources, in the order in which `status` shows them."""


@dataclass(frozen=True, slots=True)
class _Running:
    source: Source
    scope: trio.CancelScope


@dataclass(frozen=True, slots=True)
class PreparedSources:
    """The sources of a configuration, by key: those that run already, and those `made` for it."""

    sources: Mapping[Hashable, Source]
    made: Mapping[Hashable, Source]

    def give_up(self) -> None:
        """Let go of those that were made, and leave the others as they were: it is not applied."""
        for key, source in self.sources.items():
            if key in self.made:
                source.give_up()
            else:
                source.withdraw()


class SourceTasks:
    """Starts and stops sources, all of them inside one nursery."""

    _nursery: trio.Nursery

    def __init__(self, surroundings: Surroundings) -> None:
        self._kinds = [kind(surroundings) for kind in KINDS]
        self._running: dict[Hashable, _Running] = {}

    def start(self, nursery: trio.Nursery, config: Config) -> None:
        """Start the sources of a configuration. Raises `SourceError`.

        Whoever cancels the nursery stops all of them.
        """
        self._nursery = nursery
        prepared = self.prepare(config)
        for kind in self._kinds:
            nursery.start_soon(contained, kind.run, kind.name)
        self.apply(config, prepared)

    def prepare(self, config: Config) -> PreparedSources:
        """Do what may fail: make the sources that are new. Raises `SourceError`."""
        sources: dict[Hashable, Source] = {}
        made: dict[Hashable, Source] = {}
        prepared = PreparedSources(sources, made)
        try:
            for kind in self._kinds:
                for key, make in kind.sources(config).items():
                    if (running := self._running.get(key)) is not None:
                        running.source.prepare(config)
                        sources[key] = running.source
                    else:
                        sources[key] = made[key] = make()
        except BaseException:
            prepared.give_up()
            raise
        return prepared

    def apply(self, config: Config, prepared: PreparedSources) -> None:
        """Run the sources of this configuration, and no others. What is unchanged goes on."""
        for key in self._running.keys() - prepared.sources.keys():
            self._running[key].scope.cancel()
        before, self._running = self._running, {}
        for key, source in prepared.sources.items():
            source.apply(config)
            running = before.get(key)
            if running is None:
                running = _Running(source, trio.CancelScope())
                self._nursery.start_soon(_run, running)
            self._running[key] = running

    def standing(self) -> dict[str, SourceStanding]:
        """Return how each source is, by its name."""
        found = ((each.source.name, each.source.standing()) for each in self._running.values())
        return {name: standing for name, standing in found if standing is not None}

    def children(self) -> list[int]:
        """Return the process numbers of this process's own children that run now."""
        return [pid for kind in self._kinds for pid in kind.children()]


async def _run(running: _Running) -> None:
    with running.scope:
        await contained(running.source.run, running.source.name)
