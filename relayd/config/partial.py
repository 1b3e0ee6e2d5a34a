"""Reads parts of the configuration, for commands that need no more of it than that.

They work while a secret is unreadable to their user, or while another part of the file is wrong:
`relayd reload` is there to say so, and `relayd show` to be used meanwhile.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from relayd.config.added_subscription import Added
from relayd.config.build import build_config
from relayd.config.config import Config
from relayd.config.documents import read_documents
from relayd.config.findings import Findings
from relayd.config.problem import ConfigError
from relayd.config.sections import QueueConfig, SocketConfig, SpoolConfig
from relayd.config.shape import read_shape
from relayd.core.endpoint import Endpoint
from relayd.core.subscription import Subscription

Part = Literal["queue", "spools", "socket"]


@dataclass(frozen=True, slots=True)
class Places:
    """What of a configuration holds whatever its subscriptions say.

    `event_types` is empty where the market's own types are not known for a fault.
    """

    queue: QueueConfig
    spools: tuple[SpoolConfig, ...]
    socket: SocketConfig | None
    event_types: frozenset[str]
    type_prefixes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class PartialConfig:
    """Subscriptions by name, in the file's order; what those in `doubtful` want has a fault."""

    subscriptions: Mapping[str, Subscription]
    doubtful: frozenset[str]
    endpoints: Mapping[str, Endpoint]
    spools: tuple[SpoolConfig, ...]


def read_places(path: Path, *needed: Part, environ: Mapping[str, str] = os.environ) -> Places:
    """Read the file. Raises `ConfigError` only where a needed part cannot be relied on."""
    config, findings = read_doubtful(path, environ)
    if any(findings.is_doubtful((part,)) for part in needed):
        raise ConfigError(findings.errors)
    return Places(
        config.queue, config.spools, config.socket, config.event_types, config.type_prefixes
    )


def read_partial_config(path: Path) -> PartialConfig:
    """Read what subscriptions want, also where other parts of the file, or secrets, have a fault.

    The subscriptions' secrets may be missing: nothing may be sent with them. Raises `ConfigError`
    where a file cannot be read.
    """
    config, findings = read_doubtful(path)
    if findings.incomplete:
        # Which subscriptions there are is not known.
        raise ConfigError(findings.errors)
    return PartialConfig(
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


def read_doubtful(
    path: Path, environ: Mapping[str, str] = os.environ, added: Added | None = None
) -> tuple[Config, Findings]:
    """Read the file, and those that it includes, with what is wrong: what is not doubtful holds.

    Raises `ConfigError` where the file itself cannot be read. `added` is as for `load_config`.
    """
    findings = read_documents(path, added)
    file = read_shape(findings)
    if file is None:
        raise ConfigError(findings.errors)
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps `..`
    return build_config(file, absolute, environ, findings), findings
