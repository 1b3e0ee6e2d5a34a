"""A daemon and its web process for tests, as real processes, and clients of both addresses."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from processes import RelaydProcess, running, web_running, write_config
from receivers import unused_port

TOKEN = "t-0123456789abcdef"
READ = "r-0123456789abcdef"
SHOP = "s-0123456789abcdef"
EVENT = {"type": "order.created", "data": {"object": {"id": "order_1"}}}


@dataclass
class Web:
    """A daemon, its web process, and clients of the two addresses that it serves."""

    config: Path
    relayd: RelaydProcess
    process: RelaydProcess
    private: httpx.AsyncClient
    public: httpx.AsyncClient


def with_token(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


@asynccontextmanager
async def serving(
    folder: Path, *, file: Mapping[str, Any] | None = None, **http: object
) -> AsyncIterator[Web]:
    """Run both; `http` and `file` are keys of `http:` and of the file."""
    ports = unused_port(), unused_port()
    config = write_config(
        folder,
        http={
            "listen": f"127.0.0.1:{ports[0]}",
            "public": f"127.0.0.1:{ports[1]}",
            "token": TOKEN,
            "read_token": READ,
            "producers": {"shop": {"token": SHOP, "market_id": "market_9"}},
            **http,
        },
        **{"spools": None, **(file or {})},
    )
    async with (
        running(config) as relayd,
        web_running(config) as process,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports[0]}") as private,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{ports[1]}") as public,
    ):
        yield Web(config, relayd, process, private, public)
