"""All spools that the configuration has: they share the template of their readers, and the pace."""

from collections.abc import Callable, Hashable
from functools import partial

from relayd.config.config import Config
from relayd.sources.pace import Pace
from relayd.sources.readers import Readers
from relayd.sources.source import Source, SourceKind, Surroundings
from relayd.sources.spool import Spool


class SpoolKind(SourceKind):
    """Spools, one source each. One that is configured in another way is another source."""

    name = "spools"

    def __init__(self, surroundings: Surroundings) -> None:
        super().__init__(surroundings)
        self._readers = Readers()
        self._pace = Pace(surroundings.is_behind)

    def sources(self, config: Config) -> dict[Hashable, Callable[[], Source]]:
        """Return what makes each spool, by its configuration."""
        given = self.surroundings
        return {
            spool: partial(Spool, spool, given.intake, self._readers, self._pace, given.at_work)
            for spool in config.spools
        }

    async def run(self) -> None:
        """Keep the template of the readers running."""
        await self._readers.run()

    def children(self) -> list[int]:
        """Return the template's process number, if it runs."""
        return self._readers.children()
