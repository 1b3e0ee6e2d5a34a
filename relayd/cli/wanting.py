"""What the configuration's subscriptions want, for a command that needs no secret of theirs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from relayd.cli.places import read_doubtful
from relayd.config.sections import SpoolConfig
from relayd.core.endpoint import Endpoint
from relayd.core.subscription import Subscription


@dataclass(frozen=True, slots=True)
class Wanting:
    """Subscriptions by name, in the file's order; what those in `doubtful` want has a fault."""

    subscriptions: Mapping[str, Subscription]
    doubtful: frozenset[str]
    endpoints: Mapping[str, Endpoint]
    spools: tuple[SpoolConfig, ...]


def read_wanting(path: Path) -> Wanting:
    """Read what is wanted, also where other parts of the file, or secrets, cannot be relied on.

    The subscriptions' secrets may be missing: nothing may be sent with them. Raises `ConfigError`
    where nothing can be read.
    """
    config, findings = read_doubtful(path)
    return Wanting(
        subscriptions=config.subscriptions,
        doubtful=frozenset(
            name
            for name in config.subscriptions
            if any(
                findings.is_doubtful(("subscriptions", name, key))
                for key in ("events", "where", "active")
            )
        ),
        endpoints=config.endpoints,
        spools=config.spools,
    )
