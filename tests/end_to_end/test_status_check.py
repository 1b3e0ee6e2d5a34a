"""The summary of `status`, `status --check`, and what is said where the file is not in force."""

import signal
from pathlib import Path

from operating import Switch, asked, emit, logged
from processes import command, run_command, running, write_config
from receivers import open_receiver


async def test_status_check_through_an_outage_and_its_repair(tmp_path: Path) -> None:
    switch = Switch(503)
    async with open_receiver(switch) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "retry": []}})
        async with running(config) as relayd:
            well = await command("status", "--check", config=config)
            assert well == "OK: 1 endpoint, nothing pending\n"
            await emit(config, "evt_1")
            await logged(relayd, "delivery_exhausted", event_id="evt_1")
            bad = await command("status", "--check", config=config, status=1)
            assert bad == "relayd: 1 exhausted (--since 24h)\n"
            # In the past: it is shown as long as it is kept, and is no alarm any more.
            await command("status", "--check", "--since", "0s", config=config)
            shown = await command("status", config=config)
            assert shown.startswith("1 exhausted, last attempt failed at 1 of 1 endpoint\n")
            assert "`relayd replay books --state exhausted`" in shown
            switch.status = 200
            await command("replay", "books", "--state", "exhausted", "--yes", config=config)
            await logged(relayd, "attempt_succeeded", event_id="evt_1", attempt=2)
            await command("status", "--check", config=config)
        down = await command("status", "--check", config=config, status=1)
        assert down == "relayd is not running\n"


async def test_a_file_that_is_not_in_force_is_reported_until_it_is(tmp_path: Path) -> None:
    async with open_receiver(Switch(200)) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config):
            first = config.read_text()
            config.write_text(f"{first}# changed\n")
            found = await asked("status", config=config)
            assert found["summary"] == f"{config.name} changed but not loaded"
            assert found["configuration"]["in_force"] is False
            line = await command("status", "--check", config=config, status=1)
            assert line == f"relayd: {config.name} changed but not loaded\n"
            assert (await asked("match", "order.created", config=config))["in_force"][
                "in_force"
            ] is False
            assert (await asked("test", "books", config=config))["in_force"]["changed"]
            assert (await asked("check", config=config))["in_force"]["changed"]

            config.write_text(f"{first}foo: 1\n")
            await command("reload", config=config, status=78)
            refused = (await asked("status", config=config))["configuration"]["reload_refused"]
            assert "unknown key" in refused["problem"]

            config.write_text(first)
            await command("reload", config=config)
            assert (await asked("status", config=config))["configuration"] == {
                "config": str(config),
                "in_force": True,
                "reloading": False,
                "changed": [],
                "changed_count": 0,
                "reload_refused": None,
            }


async def test_another_file_than_the_one_relayd_runs_with_is_not_in_force(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1:9/"}})
    other = tmp_path / "other.yaml"
    other.write_text(config.read_text())
    async with running(config):
        link = tmp_path / "link.yaml"
        link.symlink_to(config)
        await command("status", "--check", config=link)
        line = await command("status", "--check", config=other, status=1)
        assert line == "relayd runs with another file\n"
        for arguments in (("match", "order.created"), ("check",), ("test", "books")):
            done = await run_command(*arguments, config=other)
            said = " ".join((done.stdout + done.stderr).decode().split())
            assert f"{other} is not in force: relayd runs with {config}" in said, arguments
        found = (await asked("status", config=other))["configuration"]
        assert (found["in_force"], found["config"]) == (False, str(config))


async def test_where_a_daemon_does_not_answer_it_is_said_that_nothing_is_known(
    tmp_path: Path,
) -> None:
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1:9/"}})
    async with running(config) as relayd:
        relayd.signal(signal.SIGSTOP)
        try:
            line = await command("status", "--check", config=config, status=1)
            done = await run_command("match", "order.created", config=config)
        finally:
            relayd.signal(signal.SIGCONT)
        assert line == "relayd does not answer\n"
        said = " ".join(done.stderr.decode().split())
        assert "not known whether this file is what is in force: relayd did not answer" in said
