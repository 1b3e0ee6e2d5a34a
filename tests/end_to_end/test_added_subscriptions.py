"""`relayd add` and `remove`: a file of its own, in force at once, and nothing where it is refused."""

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml
from faults.producing import until
from operating import Switch, asked, emit
from processes import command, run_command, running, write_config
from receivers import open_receiver

from relayd.cli.command_error import CommandError
from relayd.cli.offline_subscriptions import reload_if_running, remove_offline
from relayd.core.queue_files import CONTROL

NOBODY = 65534
URL = "https://shop.example/hooks"


def including(folder: Path, **keys: Any) -> Path:
    (folder / "subs.d").mkdir(mode=0o700, exist_ok=True)
    return write_config(folder, include="subs.d/*.yaml", **keys)


def files(config: Path) -> list[str]:
    return sorted(each.name for each in (config.parent / "subs.d").iterdir())


async def listed(config: Path) -> list[str]:
    return [each["name"] for each in (await asked("check", config=config))["subscriptions"]]


async def add(config: Path, name: str, *more: str, url: str = URL, status: int = 0) -> str:
    return await command(
        "add", name, "--url", url, "--events", "order.*", *more, config=config, status=status
    )


def ask(config: Path, **request: object) -> dict[str, Any]:
    """Ask as another program would: a line of JSON, and one back."""
    with socket.socket(socket.AF_UNIX) as control:
        control.connect(f"{config.parent}/queue.db{CONTROL}")
        control.sendall(json.dumps(request).encode() + b"\n")
        answer: dict[str, Any] = json.loads(control.makefile().readline())
        return answer


async def test_one_is_added_tested_and_removed_while_relayd_runs(tmp_path: Path) -> None:
    switch = Switch(200)
    async with open_receiver(switch) as receiver:
        config = including(tmp_path)
        async with running(config) as relayd:
            added = await asked(
                "add", "shop", "--url", receiver.url, "--events", "order.created,user.*",
                "--where", "data.object.id: {glob: 'order_*'}", "--retry", "1h", "--timeout", "5s",
                "--rate-limit", "50/s", "--test", config=config,
            )  # fmt: skip
            assert added["in_force"] is True
            assert added["changes"] == ["subscription shop: added"]
            assert added["test"]["succeeded"] is True
            file = tmp_path / "subs.d" / "shop.yaml"
            assert added["file"] == str(file)
            assert added["secret"].startswith("whsec_")
            assert added["secret"] in file.read_text()
            assert file.stat().st_mode & 0o7777 == 0o600
            await relayd.logged("subscription_added", subscription="shop", file=str(file))
            (seen,) = (await asked("check", config=config))["subscriptions"]
            assert (seen["file"], seen["timeout_s"], seen["retry_s"]) == (str(file), 5.0, [3600.0])
            assert seen["where"] == {"data.object.id": {"glob": "order_*"}}
            await emit(config, "evt_1")
            await relayd.logged("attempt_succeeded", subscription="shop")
            switch.status = 503
            await emit(config, "evt_2", "evt_3")
            await until(lambda: len(relayd.events("retry_scheduled")) == 2)
            question = await run_command("remove", "shop", config=config)
            assert question.returncode == 2
            assert b"hold its 2 deliveries?" in question.stderr
            assert files(config) == ["shop.yaml"]
            said = await command("remove", "shop", "--yes", config=config)
            assert "2 deliveries are held:" in said
            assert "relayd cancel shop " in said
            assert files(config) == []
            await relayd.logged("subscription_removed", subscription="shop")
            assert (await listed(config)) == []
            # Its backlog goes on when it is there again.
            again = await asked(
                "add", "shop", "--url", receiver.url, "--events", "*", config=config
            )
            (change,) = again["changes"]
            assert change.startswith("subscription shop: added; its backlog of 2 is no longer held")


async def test_a_refusal_leaves_no_file_and_speaks_of_the_options(tmp_path: Path) -> None:
    config = including(
        tmp_path, subscriptions={"books": {"url": URL, "events": "*", "secret": "s" * 20}}
    )
    async with running(config) as relayd:
        wrong = ("--timeout", "5", "--retry", "2m,5x", "--where", "data.object.total: {gte: []}")
        said = await add(config, "shop", *wrong, url="ftp://x", status=2)
        for option in ("--url", "--timeout", "--retry", "--where: data.object.total.gte"):
            assert f"relayd: {option}: " in said
        for where in ("data.object.total={gte: 5000}", "data.object.currency=usd", "a>5: 1"):
            said = await add(config, "shop", "--where", where, status=2)
            assert "write a path, a colon, a space and a value" in said.replace("\n", " ")
        said = await add(config, "books", status=1)
        assert f"there is a subscription books already: {config}:" in said
        said = await add(config, "limited", "--rate-limit", "1/s", status=2)
        assert "relayd: --rate-limit: is 1/s here and 100/min for the same URL" in said.replace(
            "\n  ", " "
        )
        said = await add(config, "shop", "--secret-file", "none", status=2)
        assert "relayd: --secret-file: file" in said
        await add(config, "a/../b", status=2)
        assert files(config) == []
        assert not relayd.events("configuration_reloaded")
        # Another key needs a restart: the reload is refused, and so is the addition.
        text = config.read_text()
        config.write_text(text.replace("path: queue.db", "path: ./queue.db2"))
        answer = ask(config, command="add", subscription="shop", url=URL, events=["*"])
        assert answer["ok"] is False
        assert "needs a restart" in str(answer["problems"])
        config.write_text(text + "unknown: 1\n")
        said = await add(config, "shop", status=78)
        assert "nothing was added" in said
        assert "unknown key" in said
        assert files(config) == []


async def test_the_request_is_plain_json_with_the_problems_of_each_key(tmp_path: Path) -> None:
    config = including(tmp_path)
    async with running(config):
        form = {"url": URL, "events": ["*"], "active": False, "secret": "0123456789abcdef0123"}
        answer = ask(config, command="add", subscription="shop", **form, headers={"X-A": "b"})
        assert answer["ok"] is True
        assert "secret" not in answer
        (seen,) = (await asked("check", config=config))["subscriptions"]
        assert (seen["active"], seen["headers"]) == (False, ["X-A"])
        answer = ask(config, command="add", subscription="b", url="x", events=[], foo=1, secret=7)
        assert (answer["ok"], answer["code"]) == (False, "invalid")
        assert {each["key"] for each in answer["details"]} == {"url", "events", "foo", "secret"}
        for request in (
            {"subscription": "a/b"}, {"subscription": 7}, {}, {"subscription": "b", "url": "\ud83d"},
            {"subscription": "b", "url": URL, "events": "*", "secret": {"file": "/dev/zero"}},
        ):  # fmt: skip
            assert ask(config, command="add", **request)["ok"] is False
        assert files(config) == ["shop.yaml"]
        for name in ("none", "", "../x"):
            assert ask(config, command="remove", subscription=name)["code"] == "unknown"


async def test_only_what_add_wrote_is_removed(tmp_path: Path) -> None:
    own = {"books": {"url": URL, "events": "*", "secret": "s" * 20}}
    config = including(tmp_path, subscriptions=own)
    folder = tmp_path / "subs.d"
    await add(config, "shop")
    (folder / "hand.yaml").write_text(
        (folder / "shop.yaml").read_text().replace("shop:", "hand:").split("\n", 1)[1]
    )
    await add(config, "two")
    with (folder / "two.yaml").open("a") as file:
        file.write(
            "  three: {url: https://x.example/, events: '*', secret: ssssssssssssssssssss}\n"
        )
    for relayd_runs in (False, True):
        for name, place in (("books", str(config)), ("hand", "hand.yaml"), ("two", "three")):
            said = await run_command("remove", name, "--yes", config=config)
            assert said.returncode == 1, said
            assert place.encode() in said.stderr
        if not relayd_runs:
            async with running(config):
                for name in ("books", "hand", "two"):
                    assert ask(config, command="remove", subscription=name)["code"] == "not_added"
    assert files(config) == ["hand.yaml", "shop.yaml", "two.yaml"]


async def test_a_link_is_not_what_add_wrote_and_its_target_stays(tmp_path: Path) -> None:
    config = including(tmp_path)
    await add(config, "shop")
    target, link = tmp_path / "elsewhere.yaml", tmp_path / "subs.d" / "shop.yaml"
    link.rename(target)
    link.symlink_to(target)
    said = await run_command("remove", "shop", "--yes", config=config)
    assert (said.returncode, b"did not write" in said.stderr) == (1, True), said
    async with running(config):
        assert ask(config, command="remove", subscription="shop")["code"] == "not_added"
        said = await run_command("remove", "shop", "--yes", config=config)
        assert (said.returncode, b"did not write" in said.stderr) == (1, True), said
    assert link.is_symlink()
    assert target.exists()


async def test_without_a_daemon_the_file_is_there_for_the_next_start(tmp_path: Path) -> None:
    config = including(
        tmp_path, subscriptions={"books": {"url": URL, "events": "*", "secret": {"env": "NOT_SET"}}}
    )
    said = await add(config, "shop")
    assert "it is in force from the next start on" in said
    assert files(config) == ["shop.yaml"]
    await add(config, "shop", status=1)
    await add(config, "wrong", "--timeout", "5", status=2)
    assert files(config) == ["shop.yaml"]
    removed = await asked("remove", "shop", config=config)
    assert (removed["in_force"], removed["held"]) == (False, 0)
    assert files(config) == []


async def test_without_include_it_says_what_to_write(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    said = await add(config, "shop", status=1)
    assert "\n  include: subscriptions.d/*.yaml\n" in said
    assert f"mkdir -m 0700 {tmp_path}/subscriptions.d" in said
    async with running(config):
        assert (
            ask(config, command="add", subscription="a", url=URL, events="*")["code"]
            == "no_include"
        )
        said = await add(config, "shop", status=1)
        assert "\n  include: subscriptions.d/*.yaml\n" in said
        # To the letter; nothing was reloaded meanwhile.
        config.write_text("include: subscriptions.d/*.yaml\n" + config.read_text())
        (tmp_path / "subscriptions.d").mkdir(mode=0o700)
        assert "shop added" in await add(config, "shop")
    config.write_text(config.read_text().replace("subscriptions.d/*.yaml", "none.d/*.yaml"))
    said = await add(config, "shop", status=1)
    assert "none.d does not exist" in said.replace("\n", " ")


async def test_many_at_once_while_others_reload(tmp_path: Path) -> None:
    config = including(tmp_path)
    async with running(config) as relayd:
        answers: list[dict[str, Any]] = []

        async def one(name: str) -> None:
            form = {"command": "add", "subscription": name, "url": URL, "events": ["*"]}
            answers.append(await trio.to_thread.run_sync(lambda: ask(config, **form)))

        async with trio.open_nursery() as nursery:
            for number in range(6):
                nursery.start_soon(one, f"sub-{number // 2}")
                relayd.signal(signal.SIGHUP)
        assert (
            sorted(each.get("code", "added") for each in answers) == ["added"] * 3 + ["exists"] * 3
        )
        assert files(config) == [f"sub-{number}.yaml" for number in range(3)]
        assert len(await listed(config)) == 3


@pytest.mark.parametrize("moment", [0.0, 0.3, 0.6, 0.9])
async def test_a_kill_on_the_way_leaves_what_starts_again(tmp_path: Path, moment: float) -> None:
    config = including(tmp_path)
    async with running(config) as relayd:
        with trio.CancelScope():
            async with trio.open_nursery() as nursery:
                nursery.start_soon(
                    lambda: run_command("add", "shop", "--url", URL, "--events", "*", config=config)
                )
                await trio.sleep(moment)
                relayd.signal(signal.SIGKILL)
                await relayd.wait()
    assert [each for each in files(config) if not each.startswith(".")] in ([], ["shop.yaml"])
    async with running(config):
        answer = ask(config, command="add", subscription="shop", url=URL, events=["*"])
        assert answer["ok"] or answer["code"] == "exists"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as others")
async def test_root_adds_as_the_owner_of_the_folder(tmp_path: Path) -> None:
    config = including(tmp_path)
    for path in (tmp_path, *tmp_path.parents):
        if path != Path(tempfile.gettempdir()) and path.is_relative_to(tempfile.gettempdir()):
            path.chmod(path.stat().st_mode | 0o055)
    for path in (tmp_path, tmp_path / "subs.d", config):
        os.chown(path, NOBODY, NOBODY)
    await add(config, "shop")
    file = tmp_path / "subs.d" / "shop.yaml"
    assert (file.stat().st_uid, file.stat().st_mode & 0o777) == (NOBODY, 0o600)
    (tmp_path / "subs.d").chmod(0o500)
    said = await add(config, "books", status=1)
    assert f"cannot write {tmp_path}/subs.d/books.yaml: Permission denied" in said.replace(
        "\n", " "
    )
    assert files(config) == ["shop.yaml"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root acts as others")
async def test_without_a_daemon_no_file_is_written_that_relayds_user_could_not_read(
    tmp_path: Path,
) -> None:
    (tmp_path / "state").mkdir()
    config = including(tmp_path, queue={"path": "state/queue.db"})
    os.chown(tmp_path / "state", NOBODY, NOBODY)
    said = await add(config, "shop", status=1)
    assert "subs.d belongs to user root, and must belong to nobody" in said.replace("\n", " ")
    assert "chown nobody" in said
    assert files(config) == []


async def test_a_file_that_was_changed_during_the_question_stays(tmp_path: Path) -> None:
    config = including(tmp_path)
    await add(config, "shop")
    file = tmp_path / "subs.d" / "shop.yaml"
    removing = partial(remove_offline, config, "shop", file)
    file.write_text("subscriptions: {}\n")
    with pytest.raises(CommandError, match="shop"):
        removing()
    assert files(config) == ["shop.yaml"]


@asynccontextmanager
async def asking(*arguments: str) -> AsyncIterator[tuple[trio.Process, int]]:
    """Run a command on a terminal until it asks; yield it, and the terminal that answers it."""
    ours, its = pty.openpty()
    try:
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "relayd", *arguments],
            stdin=its,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stderr is not None
        said = b""
        with trio.fail_after(20):
            while b"[y/N]" not in said:
                more = await process.stderr.receive_some()
                assert more, said
                said += more
        try:
            yield process, ours
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()
    finally:
        os.close(ours)
        os.close(its)


async def with_backlog(config: Path) -> None:
    """Add a subscription that nobody answers, and leave a delivery of it behind."""
    await add(config, "shop", url="http://127.0.0.1:9/hooks")
    async with running(config) as relayd:
        await emit(config, "evt_1")
        await relayd.logged("retry_scheduled")


async def removed(process: trio.Process) -> str:
    assert process.stdout is not None
    said = b""
    with trio.fail_after(30):
        async for part in process.stdout:
            said += part
        assert await process.wait() == 0, said
    return said.decode()


async def in_force(config: Path) -> list[str]:
    """Return the subscriptions that the daemon has, whatever the files say."""
    endpoints = (await asked("status", config=config))["endpoints"]
    found = [each for endpoint in endpoints for each in endpoint["subscriptions"]]
    return [each["name"] for each in found if each["hold"] != "removed"]


async def test_a_daemon_that_is_started_during_the_question_drops_it_too(tmp_path: Path) -> None:
    config = including(tmp_path)
    await with_backlog(config)
    async with (
        asking("remove", "shop", "--config", str(config)) as (process, terminal),
        running(config) as relayd,
    ):
        assert await in_force(config) == ["shop"]
        os.write(terminal, b"y\n")
        assert "not running" not in await removed(process)
        assert await in_force(config) == []
        await relayd.logged("subscription_removed", subscription="shop")
    assert files(config) == []


async def test_a_daemon_that_is_stopped_during_the_question_is_not_needed(tmp_path: Path) -> None:
    config = including(tmp_path)
    await with_backlog(config)
    async with (
        running(config) as relayd,
        asking("remove", "shop", "--config", str(config)) as (process, terminal),
    ):
        await relayd.stop()
        os.write(terminal, b"y\n")
        assert "not running" in await removed(process)
    assert files(config) == []


async def test_a_daemon_that_was_started_just_before_the_file_went_reloads(
    tmp_path: Path,
) -> None:
    config = including(tmp_path)
    await add(config, "shop")
    async with running(config):
        assert await in_force(config) == ["shop"]
        # As it is between the look for a daemon and the removal.
        remove_offline(config, "shop", tmp_path / "subs.d" / "shop.yaml")
        assert await in_force(config) == ["shop"]
        reloaded = await trio.to_thread.run_sync(reload_if_running, config, "removed")
        assert reloaded is not None
        assert reloaded["changes"] == ["subscription shop: removed"]
        assert await in_force(config) == []


async def test_a_key_is_changed_and_what_is_secret_is_not_shown(tmp_path: Path) -> None:
    config = including(tmp_path)
    async with running(config) as relayd:
        await add(config, "shop", "--where", "data.object.total: {gte: 5}", url=f"{URL}?key=abc")
        file = tmp_path / "subs.d" / "shop.yaml"
        secret = yaml.safe_load(file.read_text())["subscriptions"]["shop"]["secret"]
        found = ask(config, command="edit", subscription="shop", check=True)
        assert found["keys"] == {
            "url": "https://shop.example/…",
            "events": ["order.*"],
            "where": {"data.object.total": {"gte": 5}},
            "secret": "••••••",
        }
        for hidden in (secret, "hooks", "abc"):
            assert hidden not in json.dumps(found)
        answer = ask(
            config, command="edit", subscription="shop", timeout="5s", where=None, active=False
        )
        assert answer["ok"], answer
        assert "secret" not in answer
        assert answer["changes"] == ["subscription shop: where, active, timeout changed"]
        assert yaml.safe_load(file.read_text())["subscriptions"]["shop"] == {
            "url": f"{URL}?key=abc",
            "events": ["order.*"],
            "secret": secret,
            "timeout": "5s",
            "active": False,
        }
        assert file.stat().st_mode & 0o7777 == 0o600
        assert await asked("check", config=config)
        assert files(config) == ["shop.yaml"]
        await relayd.logged("subscription_edited", subscription="shop", file=str(file))
        await command("remove", "shop", "--yes", config=config)


async def test_a_new_secret_is_made_and_the_old_one_is_kept_beside_it(tmp_path: Path) -> None:
    config = including(tmp_path)
    async with running(config):
        await add(config, "shop")
        file = tmp_path / "subs.d" / "shop.yaml"
        old = yaml.safe_load(file.read_text())["subscriptions"]["shop"]["secret"]
        answer = ask(config, command="edit", subscription="shop", rotate=True)
        now = yaml.safe_load(file.read_text())["subscriptions"]["shop"]
        assert (now["secret"], now["previous_secret"]) == (answer["secret"], old)
        assert answer["secret"] not in answer["yaml"]
        # As a whole: what is not given is gone, except the secret.
        answer = ask(
            config, command="edit", subscription="shop", whole=True, url=URL, events=["user.*"]
        )
        assert "secret" not in answer
        assert yaml.safe_load(file.read_text())["subscriptions"]["shop"] == {
            "secret": now["secret"],
            "url": URL,
            "events": ["user.*"],
        }


async def test_what_cannot_be_changed_stays_as_it_is(tmp_path: Path) -> None:
    config = including(tmp_path)
    by_hand = tmp_path / "subs.d" / "hand.yaml"
    async with running(config):
        await add(config, "shop")
        file = tmp_path / "subs.d" / "shop.yaml"
        before = file.read_bytes()
        refused = ask(config, command="edit", subscription="shop", url="ftp://shop.example/")
        assert (refused["code"], refused["details"][0]["key"]) == ("invalid", "url")
        refused = ask(config, command="edit", subscription="nobody", timeout="5s")
        assert refused["code"] == "unknown"
        by_hand.write_bytes(before.replace(b"shop", b"hand").partition(b"\n")[2])
        by_hand.chmod(0o600)
        await command("reload", config=config)
        refused = ask(config, command="edit", subscription="hand", timeout="5s")
        assert refused["code"] == "not_added"
        assert "change it there" in refused["error"]
        # An error elsewhere refuses the reload: nothing is left behind.
        config.write_text(config.read_text() + "surplus: 1\n")
        refused = ask(config, command="edit", subscription="shop", timeout="5s")
        assert refused["code"] == "configuration"
        assert file.read_bytes() == before
        assert files(config) == ["hand.yaml", "shop.yaml"]
        assert not [each for each in file.parent.iterdir() if each.name.startswith(".")]
