"""SIGKILLs of the daemon and of the web process while webhooks come in: none that was answered 200 is lost."""

import json
import os
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import httpx
import pytest
import trio
from inbound_requests import INBOUND, stripe_post
from processes import RelaydProcess, started, write_config
from providers import stripe_event
from queue_file import rows_of
from receivers import Receiver, open_receiver, unused_port

from relayd.core.signature import DELIVERY

COUNT: Final = int(os.environ.get("TEST_WEBHOOKS", "800"))
SENDERS: Final = 12
LIFE: Final = COUNT // 3
"""So many more are answered, about, before a process is killed: it takes seconds to start."""


quiet = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
"""httpx leaves a generator behind where a connection ends in the middle of a request."""


@dataclass
class Run:
    """What was answered 200, and which processes run now."""

    config: Path
    client: httpx.AsyncClient
    answered: set[str] = field(default_factory=set)
    kills: int = 0
    sent: bool = False
    done: bool = False


@dataclass(frozen=True)
class Ended:
    """What became of it: `lost` was answered 200 and is not in the queue, `kept` is there.

    `delivered` has the deliveries' ids by event, as the receiver saw them.
    """

    lost: set[str]
    kept: set[str]
    delivered: dict[str, set[str]]
    kills: int


async def kept_killed(run: Run, what: str, module: str, chance: random.Random) -> None:
    """Run a process, kill it, and run it again, until all has been sent; then it stays."""
    while True:
        async with started(run.config, what=what, module=module) as process:
            with trio.fail_after(60):
                await process.logged("started" if what == "run" else "web_started")
            until = len(run.answered) + chance.randrange(LIFE // 2, LIFE)
            while not run.done and (run.sent or len(run.answered) < until):
                await trio.sleep(0.01)
            if run.done:
                await ended_well(process)
                return
            process.signal(signal.SIGKILL)
            run.kills += 1
            await process.wait()


async def ended_well(process: RelaydProcess) -> None:
    await trio.sleep(0.5)
    assert await process.stop() == 0, process.errors


async def sends(run: Run, mine: list[str]) -> None:
    """Send events as a provider does: again and again, until each is answered 200."""
    for event_id in mine:
        while True:
            # Signed anew each time, and with another envelope, as a retry is.
            made = stripe_post(stripe_event(id=event_id, pending_webhooks=random.randrange(9)))
            try:
                found = await run.client.post("/in/stripe", content=made[0], headers=made[1])
            except httpx.HTTPError:
                await trio.sleep(0.02)
                continue
            if found.status_code == 200:
                run.answered.add(event_id)
                break
            assert found.status_code in {429, 503}, found.text
            await trio.sleep(0.05)


async def ended(folder: Path, web: str = "relayd") -> Ended:
    """Have all sent under kills, and what is in the queue delivered by the last lives."""
    port = unused_port()
    chance = random.Random(7)
    async with (
        open_receiver() as receiver,
        httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}",
            timeout=20.0,
            limits=httpx.Limits(max_connections=SENDERS),
        ) as client,
    ):
        config = write_config(
            folder,
            {"books": {"url": receiver.url, "rate_limit": "10000/s"}},
            spools=None,
            inbound=INBOUND,
            http={"listen": f"127.0.0.1:{port}", "token": "t-0123456789abcdef"},
        )
        run = Run(config, client)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(kept_killed, run, "run", "relayd", chance)
            while not (folder / "queue.db.web").exists():
                await trio.sleep(0.05)
            nursery.start_soon(kept_killed, run, "web", web, chance)
            async with trio.open_nursery() as sending:
                for number in range(SENDERS):
                    mine = [f"evt_{each}" for each in range(number, COUNT, SENDERS)]
                    sending.start_soon(sends, run, mine)
            run.sent = True
            kept = {str(name) for (name,) in rows_of(folder / "queue.db", "SELECT id FROM events")}
            with trio.fail_after(120):
                while kept - (delivered := deliveries_of(receiver)).keys():
                    await trio.sleep(0.1)
            run.done = True
    assert len(run.answered) == COUNT
    return Ended(run.answered - kept, kept, delivered, run.kills)


def deliveries_of(receiver: Receiver) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in receiver.requests:
        found.setdefault(json.loads(each.body)["id"], set()).add(str(each.header(DELIVERY)))
    return found


@pytest.mark.timeout(900)
@quiet
async def test_none_that_was_answered_200_is_lost_and_each_is_one_delivery(tmp_path: Path) -> None:
    found = await ended(tmp_path)
    assert found.lost == set()
    assert len(found.kept) == COUNT
    # A kill between a receiver's answer and its record repeats a request, of the same delivery.
    assert {name: len(ids) for name, ids in found.delivered.items()} == dict.fromkeys(found.kept, 1)
    assert found.kills >= 3, "else it proves nothing"


@pytest.mark.timeout(900)
@quiet
async def test_a_web_process_that_answers_before_it_is_durable_loses_some(tmp_path: Path) -> None:
    assert (await ended(tmp_path, "faults.early_webhooks")).lost != set()
