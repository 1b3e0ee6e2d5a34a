"""What the API answers where a delivery was changed between the look at it and the action: not that all is well."""

import asyncio
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any

import pytest
import trio
from starlette.requests import Request
from written_queue import change, write_queue

from relayd.queue.delivery_filter import DeliveryFilter
from relayd.queue.sqlite.reader import SQLiteReader
from relayd.web.api.deliveries import Deliveries
from relayd.web.api.service import Answer, Service
from relayd.web.daemon_link import DaemonLink
from relayd.web.problem import ProblemError


class Raced(Service):
    """Another one changes the delivery before the daemon gets to it, as `sql`; nothing is left to do then."""

    def __init__(self, path: Path, sql: str) -> None:
        super().__init__(DaemonLink(path), SQLiteReader(path))
        self._path = path
        self._sql = sql

    async def ask(self, request: Mapping[str, object], *, timeout_s: float = 30) -> dict[str, Any]:
        assert request["deliveries"]
        assert timeout_s == 30
        await asyncio.to_thread(change, self._path, self._sql)
        return {"changed": 0, "held": {}, "lifted": [], "in_flight": 0}


def one(path: Path, state: str) -> str:
    with SQLiteReader(path).snapshot() as snapshot:
        found = snapshot.list_deliveries(DeliveryFilter(), 50).deliveries
    return next(each.id for each in found if each.state.value == state)


def of(identifier: str) -> Request:
    return Request(
        {"type": "http", "query_string": b"", "path_params": {"id": identifier}, "headers": []}
    )


@pytest.mark.parametrize(
    ("command", "states", "says", "instead"),
    [
        ("cancel", ("retrying", "delivered"), "was delivered, which cannot be taken back", ""),
        ("cancel", ("pending", "cancelled"), "was cancelled before", "relayd replay"),
        ("retry", ("retrying", "delivered"), "was delivered", "relayd replay"),
        ("replay", ("exhausted", "delivered"), "was delivered", "relayd replay"),
    ],
)
async def test_it_says_what_happened_instead(
    tmp_path: Path, command: str, states: tuple[str, str], says: str, instead: str
) -> None:
    path = tmp_path / "queue.db"
    before, after = states
    await write_queue(path)
    identifier = one(path, before)
    seq = int(identifier.rpartition("_")[2])
    sql = f"UPDATE deliveries SET state = '{after}', due_at = NULL, ended_at = 1 WHERE seq = {seq}"

    def act() -> ProblemError:
        deliveries = Deliveries(Raced(path, sql))
        with pytest.raises(ProblemError) as refused:
            asyncio.run(getattr(deliveries, command)(of(identifier)))
        return refused.value

    problem = await trio.to_thread.run_sync(act)
    assert (problem.status, problem.code) == (HTTPStatus.CONFLICT, "not_touched")
    assert says in problem.detail
    assert problem.more["state"] == after
    assert str(problem.more["instead"] or "").startswith(instead)


async def test_nothing_to_release_is_no_error(tmp_path: Path) -> None:
    """A delivery that is pending needs no release."""
    path = tmp_path / "queue.db"
    await write_queue(path)
    identifier = one(path, "pending")

    def act() -> Answer:
        return asyncio.run(Deliveries(Raced(path, "SELECT 1")).retry(of(identifier)))

    answer = await trio.to_thread.run_sync(act)
    assert isinstance(answer.document, Mapping)
    assert (answer.document["matched"], answer.document["changed"]) == (1, 0)
