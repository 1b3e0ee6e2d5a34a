"""What the configuration's subscriptions want, for a command that needs no secret of theirs."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from relayd.config.build import build_config
from relayd.config.findings import Findings, fault_problem
from relayd.config.problem import ConfigError, Problem
from relayd.config.reading import Unreadable, read_file
from relayd.config.sections import SpoolConfig
from relayd.config.shape import read_shape
from relayd.config.yaml_text import MAX_BYTES, YamlError, parse_yaml
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
    content = read_file(path, MAX_BYTES)
    if isinstance(content, Unreadable):
        raise ConfigError([Problem(str(path), None, None, "", content.reason, "")])
    try:
        document = parse_yaml(content.raw)
    except YamlError as error:
        raise ConfigError([fault_problem(str(path), fault) for fault in error.faults]) from None
    findings = Findings(str(path), document)
    file = read_shape(findings)
    if file is None:
        raise ConfigError(findings.errors)
    absolute = Path(os.path.abspath(path))  # noqa: PTH100 - Path.absolute keeps `..`
    config = build_config(file, absolute, os.environ, findings, readable_by_all=False)
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
