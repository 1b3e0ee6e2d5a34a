"""The queues that are held to one contract: the SQLite one, and the one in memory."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from queues_under_test import InMemory, InSQLite, UnderTest, declare


@asynccontextmanager
async def _opened(kind: str, folder: Path) -> AsyncIterator[UnderTest]:
    if kind == "memory":
        yield InMemory()
    else:
        async with InSQLite.opened(folder / "queue.db") as queue:
            yield queue


@pytest.fixture(params=["sqlite", "memory"])
async def queue(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[UnderTest]:
    async with _opened(request.param, tmp_path) as opened:
        await declare(opened)
        yield opened
