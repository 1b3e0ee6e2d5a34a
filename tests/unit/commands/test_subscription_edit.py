"""What the daemon does for `edit`: all of it, or nothing."""

import errno
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import trio
import yaml
from processes import write_config

from relayd.commands.requests import RefusedError
from relayd.commands.subscription_edit import SubscriptionEditCommand
from relayd.config.added_subscription import Added, added
from relayd.config.config import Config
from relayd.config.included_file import put_in_place
from relayd.config.load import load_config
from relayd.config_loader import ConfigLoader

KEYS = {
    "url": "https://shop.example/a-path",
    "events": ["*"],
    "secret": "a-secret-0123456789",
    "headers": {"X-Key": "a-key"},
}


class Daemon:
    """What the command has of the daemon; `answer` is what its reload says, after `before`."""

    def __init__(self, folder: Path) -> None:
        (folder / "subs.d").mkdir(mode=0o700)
        self.file = folder / "subs.d" / "shop.yaml"
        self.file.write_bytes(added("shop", KEYS).raw)
        self.file.chmod(0o600)
        self.path = write_config(folder, include="subs.d/*.yaml")
        self.config = load_config(self.path, environ={})
        self.answer: dict[str, object] = {"ok": True, "changes": [], "warnings": []}
        self.before: Callable[[], object] = str
        self.command = SubscriptionEditCommand(
            lambda: self.config, cast("ConfigLoader", self), self.reload, trio.Lock()
        )

    @property
    def keys(self) -> dict[str, object]:
        found: dict[str, object] = yaml.safe_load(self.file.read_bytes())["subscriptions"]["shop"]
        return found

    async def load(self, path: Path, _: Config, added: Added | None = None) -> Config:
        return load_config(path, environ={}, added=added)

    async def written_keys(self, path: Path, name: str) -> tuple[dict[str, object], bytes]:
        raw = path.read_bytes()
        keys: dict[str, object] = yaml.safe_load(raw)["subscriptions"][name]
        return keys, hashlib.sha256(raw).digest()

    async def reload(self) -> dict[str, object]:
        self.before()
        if self.answer["ok"]:
            self.config = load_config(self.path, environ={})
        return dict(self.answer)


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    return Daemon(tmp_path)


async def test_what_is_given_is_changed_and_nothing_secret_is_answered(daemon: Daemon) -> None:
    answer = await daemon.command.edit({"subscription": "shop", "timeout": "5s", "events": None})
    # `events` is needed: what is refused changes nothing.
    assert answer["code"] == "invalid"
    assert daemon.keys == KEYS
    answer = await daemon.command.edit({"subscription": "shop", "timeout": "5s"})
    assert daemon.keys == {**KEYS, "timeout": "5s"}
    assert daemon.config.subscriptions["shop"].timeout_s == 5
    for secret in ("a-secret", "a-path", "a-key"):
        assert secret not in str(answer)
    assert [each.name for each in daemon.file.parent.iterdir()] == ["shop.yaml"]


async def test_as_a_whole_null_is_refused_and_makes_no_secret(daemon: Daemon) -> None:
    whole = {"subscription": "shop", "url": KEYS["url"], "events": ["*"], "whole": True}
    for key in ("secret", "timeout"):
        answer = await daemon.command.edit({**whole, key: None})
        assert answer["code"] == "invalid"
        assert [each["key"] for each in cast("list[dict[str, str]]", answer["details"])] == [key]
        assert daemon.keys == KEYS
    answer = await daemon.command.edit(whole)
    assert "secret" not in answer, "it stays"
    assert daemon.keys == {name: each for name, each in KEYS.items() if name != "headers"}


async def test_what_is_wrong_with_a_value_is_said_and_is_no_defect(daemon: Daemon) -> None:
    answer = await daemon.command.edit({"subscription": "shop", "url": "https://[x/a-path"})
    assert answer["code"] == "invalid"
    with pytest.raises(RefusedError, match="too large"):
        await daemon.command.edit({"subscription": "shop", "where": {"data.a": {"gte": 1e999}}})
    assert daemon.keys == KEYS


async def test_a_reload_that_is_refused_brings_the_file_back(daemon: Daemon) -> None:
    daemon.answer = {"ok": False, "code": "configuration", "problems": ["elsewhere"]}
    answer = await daemon.command.edit({"subscription": "shop", "timeout": "5s"})
    assert answer["problems"] == ["elsewhere"]
    assert daemon.keys == KEYS
    assert [each.name for each in daemon.file.parent.iterdir()] == ["shop.yaml"]


async def test_a_reload_that_is_cut_off_brings_the_file_back(daemon: Daemon) -> None:
    def cut() -> None:
        raise trio.Cancelled._create()

    daemon.before = cut
    with pytest.raises(trio.Cancelled):
        await daemon.command.edit({"subscription": "shop", "timeout": "5s"})
    assert daemon.keys == KEYS


async def test_what_was_written_meanwhile_is_not_lost(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    theirs = daemon.file.read_text() + "    timeout: 7s\n"

    def put_after_them(path: Path, raw: bytes, digest: bytes) -> Path:
        path.write_text(theirs)
        return put_in_place(path, raw, digest)

    with monkeypatch.context() as patch:
        patch.setattr("relayd.commands.subscription_edit.put_in_place", put_after_them)
        with pytest.raises(RefusedError, match="changed meanwhile"):
            await daemon.command.edit({"subscription": "shop", "timeout": "5s"})
    assert daemon.file.read_text() == theirs
    assert [each.name for each in daemon.file.parent.iterdir()] == ["shop.yaml"]
    # While the reload runs, too: what they wrote stays, and the old file does not come back over it.
    daemon.before = lambda: daemon.file.write_text(theirs)
    with pytest.raises(RefusedError, match="written again meanwhile"):
        await daemon.command.edit({"subscription": "shop", "timeout": "5s"})
    assert daemon.file.read_text() == theirs
    assert [each.name for each in daemon.file.parent.iterdir()] == ["shop.yaml"]


async def test_a_disk_that_refuses_leaves_the_file(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(RefusedError, match="No space left"):
        await daemon.command.edit({"subscription": "shop", "timeout": "5s"})
    assert daemon.keys == KEYS
    assert [each.name for each in daemon.file.parent.iterdir()] == ["shop.yaml"]


async def test_a_link_or_a_file_of_someone_else_is_not_followed(daemon: Daemon) -> None:
    elsewhere = daemon.path.parent / "elsewhere.yaml"
    daemon.file.rename(elsewhere)
    daemon.file.symlink_to(elsewhere)
    with pytest.raises(RefusedError, match="did not write"):
        await daemon.command.edit({"subscription": "shop", "check": True})
    with pytest.raises(RefusedError, match="no subscription"):
        await daemon.command.edit({"subscription": "../shop", "check": True})
