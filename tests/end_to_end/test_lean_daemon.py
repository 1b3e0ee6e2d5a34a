"""The daemon keeps in memory what it needs while it runs, and nothing that only its start needed."""

import signal
from pathlib import Path

import trio
from faults.producing import insert, producer
from operating import logged
from processes import make_spool, running, write_config
from receivers import answer, open_receiver

NOT_NEEDED = {
    # Only loading a configuration needs these, 11 MB: see `relayd.config.load_in_child`.
    "pydantic",
    "pydantic_core",
    "yaml",
    "relayd.config.build",
    "relayd.config.models",
    "relayd.config.subscription_models",
    "relayd.config.yaml_text",
    # httpx and structlog load these where they may, 4 MB: see `relayd.cli`.
    "rich",
    "pygments",
    "httpx._main",
    # Nothing may begin to load these, 1 to 8 MB each.
    "anyio",
    "httpcore",
    "multiprocessing",
    "unittest",
    "xml",
}


async def test_a_daemon_at_work_has_loaded_no_more_than_it_needs(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    listed = tmp_path / "modules"
    async with open_receiver(answer(503), answer(200)) as receiver:
        config = write_config(
            tmp_path,
            {"books": {"url": receiver.url, "retry": ["100ms"]}},
        )
        environment = {"RELAYD_MODULES": str(listed)}
        async with running(config, env=environment, module="lists_modules") as relayd:
            insert(tmp_path / "spool.db", "evt_1")
            await logged(relayd, "attempt_succeeded")
            async with producer(tmp_path) as shop:
                assert (await shop.hand_over("evt_2"))["ok"]
            with trio.fail_after(10):
                while len(receiver.requests) < 3:
                    await trio.sleep(0.01)
            relayd.signal(signal.SIGUSR1)
            with trio.fail_after(10):
                while not listed.exists():
                    await trio.sleep(0.01)
    loaded = set(listed.read_text().split())
    assert {"httpx", "structlog", "trio", "relayd.delivery.endpoint_task"} <= loaded
    assert not loaded & NOT_NEEDED
