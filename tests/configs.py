"""Configurations for tests of what takes events in: sources, and nothing else of use."""

from pathlib import Path

from relayd.config.config import Config
from relayd.config.sections import LogConfig, QueueConfig, SocketConfig, SpoolConfig


def sources_config(
    *spools: SpoolConfig, socket: SocketConfig | None = None, market: str = "m"
) -> Config:
    return Config(
        path=Path("/nowhere/config.yaml"),
        market_id=market,
        api_version="v",
        spools=spools,
        socket=socket,
        queue=QueueConfig(Path("/nowhere/queue.db"), 1.0),
        log=LogConfig("info", "auto"),
        web=None,
        allow_networks=(),
        event_types=frozenset(),
        subscriptions={},
        endpoints={},
        warnings=(),
    )
