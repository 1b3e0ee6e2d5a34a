"""What the daemon does for `add` and `remove`: all of it, or nothing."""

import errno
import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import trio
from processes import write_config

from relayd.commands import subscription_files
from relayd.commands.requests import RefusedError
from relayd.commands.subscription_files import SubscriptionFileCommands
from relayd.config.added_subscription import Added
from relayd.config.config import Config
from relayd.config.load import load_config
from relayd.config_loader import ConfigLoader
from relayd.core.hold import Holds
from relayd.queue.interface import QueueWriter
from relayd.queue.values import Waiting

FORM = {"subscription": "shop", "url": "https://shop.example/", "events": ["*"]}


class Daemon:
    """What the commands have of the daemon; `answer` is what its reload says."""

    def __init__(self, config: Path) -> None:
        self.path = config
        self.answer: dict[str, object] = {"ok": True, "changes": [], "warnings": []}
        self.seen: list[list[str]] = []
        self.looks = self
        self.config = load_config(config, environ={})
        self.before: Callable[[], object] = str
        """What happens before the reload that a command asked for."""
        self.commands = SubscriptionFileCommands(
            lambda: self.config,
            cast("QueueWriter", SimpleNamespace(looks=self)),
            cast("ConfigLoader", self),
            self.reload,
        )

    @property
    def names(self) -> list[str]:
        return sorted(each.name for each in (self.path.parent / "subs.d").iterdir())

    async def load(self, path: Path, _: Config, added: Added | None = None) -> Config:
        return load_config(path, environ={}, added=added)

    async def waiting(self, names: Iterable[str]) -> Mapping[str, Waiting]:
        return dict.fromkeys(names, Waiting(3, Holds(), "https://shop.example/"))

    async def reload(self) -> dict[str, object]:
        self.seen.append(self.names)
        self.before()
        if self.answer["ok"]:
            self.apply()
        return dict(self.answer)

    def apply(self) -> None:
        """Bring what is on disk into force."""
        self.config = load_config(self.path, environ={})


@pytest.fixture
def daemon(tmp_path: Path) -> Daemon:
    (tmp_path / "subs.d").mkdir(mode=0o700)
    return Daemon(write_config(tmp_path, include="subs.d/*.yaml"))


async def test_a_file_is_written_before_the_reload_and_removed_with_one(daemon: Daemon) -> None:
    answer = await daemon.commands.add({"command": "add", **FORM})
    assert daemon.seen == [["shop.yaml"]]
    assert str(answer["secret"]).startswith("whsec_")
    found = await daemon.commands.remove({"subscription": "shop", "check": True})
    assert found == {
        "subscription": "shop", "file": str(daemon.path.parent / "subs.d/shop.yaml"), "waiting": 3
    }  # fmt: skip
    assert daemon.names == ["shop.yaml"]
    answer = await daemon.commands.remove({"subscription": "shop"})
    assert (answer["ok"], answer["waiting"]) == (True, 3)
    assert [each.startswith(".") for each in daemon.seen[-1]] == [True]
    assert daemon.names == []


async def test_a_refused_reload_leaves_things_as_they_were(daemon: Daemon) -> None:
    await daemon.commands.add(FORM)
    before = (daemon.path.parent / "subs.d/shop.yaml").read_bytes()
    daemon.answer = {"ok": False, "code": "failed", "problems": ["relayd is stopping"]}
    for command in (daemon.commands.add, daemon.commands.remove):
        name = "other" if command == daemon.commands.add else "shop"
        answer = await command(
            {**FORM, "subscription": name} if name == "other" else {"subscription": name}
        )
        assert answer == daemon.answer
        assert daemon.names == ["shop.yaml"]
        assert (daemon.path.parent / "subs.d/shop.yaml").read_bytes() == before


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (errno.ENOSPC, "No space left on device"),
        (errno.EROFS, "ReadWritePaths=-"),
        (errno.EACCES, "must belong to user"),
    ],
)
async def test_what_the_disk_refuses_is_said(
    daemon: Daemon, number: int, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise OSError(number, os.strerror(number))

    await daemon.commands.add(FORM)
    monkeypatch.setattr(subscription_files, "write_new", refused)
    monkeypatch.setattr(subscription_files, "set_aside", refused)
    for command, request in (
        (daemon.commands.add, {**FORM, "subscription": "other"}),
        (daemon.commands.remove, {"subscription": "shop"}),
    ):
        with pytest.raises(RefusedError, match=said):
            await command(request)
    assert daemon.names == ["shop.yaml"]
    assert len(daemon.seen) == 1


async def test_a_folder_that_others_may_write_in_is_refused_before_anything_is_written(
    daemon: Daemon,
) -> None:
    (daemon.path.parent / "subs.d").chmod(0o777)
    answer = await daemon.commands.add(FORM)
    assert (answer["ok"], answer["code"]) == (False, "configuration")
    assert "could be replaced by everybody" in str(answer["problems"])
    assert daemon.seen == []
    assert daemon.names == []


async def test_what_another_reload_brought_into_force_stays(daemon: Daemon) -> None:
    daemon.answer = {"ok": False, "code": "failed", "problems": ["the queue is locked"]}
    daemon.before = daemon.apply
    answer = await daemon.commands.add(FORM)
    assert (answer["ok"], answer["warnings"]) == (True, ["the queue is locked"])
    assert str(answer["secret"]).startswith("whsec_")
    assert daemon.names == ["shop.yaml"]
    answer = await daemon.commands.remove({"subscription": "shop"})
    assert (answer["ok"], answer["warnings"]) == (True, ["the queue is locked"])
    assert daemon.names == []


async def test_a_file_that_another_one_replaced_is_not_taken_back(daemon: Daemon) -> None:
    daemon.answer = {"ok": False, "code": "failed", "problems": ["refused"]}
    file = daemon.path.parent / "subs.d/shop.yaml"
    daemon.before = lambda: file.write_text("# mine\n")
    answer = await daemon.commands.add(FORM)
    assert answer["problems"] == ["refused", f"{file} was changed meanwhile, and stays"]
    assert file.read_text() == "# mine\n"


async def test_what_is_not_included_any_more_is_refused(daemon: Daemon) -> None:
    daemon.before = lambda: (
        daemon.path.write_text(daemon.path.read_text().replace("subs.d/*.yaml", "others.d/*.yaml"))
        and None
    )
    answer = await daemon.commands.add(FORM)
    assert (answer["ok"], answer["code"]) == (False, "configuration")
    assert "is not included any more" in str(answer["problems"])
    assert daemon.names == []


async def test_a_command_that_is_cancelled_leaves_things_as_they_were(daemon: Daemon) -> None:
    await daemon.commands.add(FORM)
    scopes: list[trio.CancelScope] = []

    async def hangs() -> dict[str, object]:
        scopes[-1].cancel()
        await trio.sleep_forever()
        raise AssertionError

    daemon.commands._reload = hangs
    for command, name in ((daemon.commands.add, "other"), (daemon.commands.remove, "shop")):
        form = {**FORM, "subscription": name} if name == "other" else {"subscription": name}
        scopes.append(trio.CancelScope())
        with scopes[-1]:
            await command(form)
        assert scopes[-1].cancelled_caught
        assert daemon.names == ["shop.yaml"]
