"""An upgrade replaces relayd's files under a running daemon: nothing of the new program gets into it."""

import json
import os
import shutil
import signal
from pathlib import Path

import pytest
import trio
from faults.producing import insert
from processes import command, make_spool, running, write_config
from receivers import answer, open_receiver

import relayd

CHANGED = f"relayd's files have changed since it was started ({relayd.__version__}): restart it"


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """A copy of relayd's files, from which this test's daemon is started."""
    place = tmp_path / "program" / "relayd"
    shutil.copytree(
        Path(relayd.__file__).parent, place, ignore=shutil.ignore_patterns("__pycache__")
    )
    return place


def environment(program: Path) -> dict[str, str]:
    return {"PYTHONPATH": f"{program.parent}:{Path(__file__).parents[1]}"}


def put_a_field_first(program: Path) -> str:
    """Make the fields of a value shift by one, as an upgrade may; return the file as it was."""
    file = program / "core" / "endpoint.py"
    before = file.read_text()
    fields = "    rate: Rate\n    max_in_flight: int\n"
    after = before.replace(
        fields, "    rate: Rate\n    shift: int = 4\n    max_in_flight: int = 8\n", 1
    )
    assert after != before
    file.write_text(after)
    return before


async def test_a_reload_is_refused(tmp_path: Path, program: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver(*[answer(200)] * 5) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "max_in_flight": 3}})
        async with running(config, env=environment(program)) as daemon:
            assert "Nothing changed." in await command("reload", config=config)
            before = put_a_field_first(program)
            config.write_text(config.read_text().replace("max_in_flight: 3", "max_in_flight: 5"))
            printed = await command("reload", "--json", config=config, status=1)
            refused = {"ok": False, "code": "failed", "error": CHANGED, "problems": [CHANGED]}
            # The text follows, on standard error.
            assert json.loads(printed.splitlines()[0]) == refused
            assert CHANGED in await command("check", "--diff", config=config, status=1)
            daemon.signal(signal.SIGHUP)
            with trio.fail_after(20):
                while len(daemon.events("reload_refused")) < 2:
                    await trio.sleep(0.02)
            status = json.loads(await command("status", "--json", config=config))
            assert status["endpoints"][0]["allowed_in_flight"] == 3
            insert(tmp_path / "spool.db", "evt_1")
            await daemon.logged("attempt_succeeded")
            # The upgrade is taken back: the same contents are the same program.
            (program / "core" / "endpoint.py").write_text(before)
            assert "max_in_flight changed" in await command("reload", config=config)


async def test_no_reader_of_another_program_is_started(tmp_path: Path, program: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver(*[answer(200)] * 5) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config, env=environment(program)) as daemon:
            insert(tmp_path / "spool.db", "evt_1")
            await daemon.logged("attempt_succeeded")
            before = put_a_field_first(program)
            os.kill(template_of(daemon.pid), signal.SIGKILL)
            with trio.fail_after(20):
                await daemon.logged("source_unavailable")
                while CHANGED not in json.dumps(daemon.events("source_unavailable")):
                    await trio.sleep(0.02)
            insert(tmp_path / "spool.db", "evt_2")
        # Not lost: the spool has it until a daemon reads it.
        (program / "core" / "endpoint.py").write_text(before)
        async with running(config, env=environment(program)) as daemon:
            with trio.fail_after(20):
                await daemon.logged("attempt_succeeded", event_id="evt_2")


def template_of(pid: int) -> int:
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if Path(f"/proc/{child}/comm").read_text().strip() == "relayd-template":
            return int(child)
    raise AssertionError("there is no template process")
