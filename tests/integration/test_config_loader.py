"""The configuration is read in a process of its own: the same result, whatever that process does."""

import errno
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import trio
from processes import write_config

import relayd.config_loader
from relayd.config.load import ConfigError, load_config
from relayd.config.transfer import LoaderDefectError
from relayd.config_loader import ConfigLoader, NotReadError
from relayd.config_process import LARGE_BYTES


def config_file(folder: Path, **more: Any) -> Path:
    (folder / "secret").touch(mode=0o600)
    (folder / "secret").write_text("a-secret-in-a-file\n")
    subscriptions: dict[str, dict[str, object]] = {
        f"books{number}": {
            "url": f"https://shop.example/{number % 5}",
            "events": ["order.*"],
            "where": {
                "data.object.total": {"gte": 5000, "not": {"lt": number}},
                "data.object.name": {"glob": "a*"},
                "data.object.kind": ["x", number, True],
            },
            "secret": {"file": "secret"} if number % 2 else {"env": "RELAYD_TEST_SECRET"},
            "headers": {"Authorization": "Bearer of-a-token"},
        }
        for number in range(40)
    }
    return write_config(folder, subscriptions, **more)


def open_files() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def children_of_this_process() -> str:
    return Path(f"/proc/self/task/{os.getpid()}/children").read_text()


async def test_it_gives_what_reading_in_this_process_gives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELAYD_TEST_SECRET", "a-secret-of-the-environment")
    path = config_file(tmp_path)
    expected = load_config(path, environ=os.environ)
    loader, files = ConfigLoader(), open_files()
    found = await loader.load(path, expected)
    assert found == expected
    assert found.path == expected.path
    assert found.warnings == expected.warnings
    assert list(found.subscriptions) == list(expected.subscriptions)
    for name, each in expected.subscriptions.items():
        assert found.subscriptions[name] is each, "what is unchanged is the same object"
    assert all(found.endpoints[url] is each for url, each in expected.endpoints.items())
    assert loader.children() == []
    assert open_files() == files
    (tmp_path / "secret").write_text("another-secret-in-a-file\n")
    again = await loader.load(path, found)
    assert again.subscriptions["books0"] is found.subscriptions["books0"]
    assert again.subscriptions["books1"] is not found.subscriptions["books1"]
    secret = again.subscriptions["books1"].secret
    assert secret is not None
    assert secret.secret.reveal() == "another-secret-in-a-file"
    assert again == load_config(path, environ=os.environ)


async def test_problems_are_in_the_same_words(tmp_path: Path) -> None:
    known = load_config(write_config(tmp_path), environ={})
    path = config_file(tmp_path, market_id=None, allow_network=[])
    with pytest.raises(ConfigError) as here:
        load_config(path, environ=os.environ)
    with pytest.raises(ConfigError) as there:
        await ConfigLoader().load(path, known)
    assert there.value.problems == here.value.problems
    assert len(there.value.problems) > 2


@pytest.mark.parametrize(
    ("what", "reason"),
    [
        ("hangs", "took longer than 1.5 s"),
        ("is killed", "killed by SIGKILL"),
        ("ends in the middle of a piece", "ended"),
        ("ends without a word", "ended"),
        ("floods", "larger than 64 MiB"),
    ],
)
async def test_a_process_that_fails(tmp_path: Path, what: str, reason: str) -> None:
    known = load_config(write_config(tmp_path), environ={})
    loader, files = ConfigLoader("faulty_loader"), open_files()
    if what == "hangs":
        loader = ConfigLoader("faulty_loader", deadline_s=1.5)
    with pytest.raises(NotReadError, match=reason):
        await loader.load(tmp_path / what, known)
    assert loader.children() == []
    assert open_files() == files
    assert children_of_this_process() == ""


async def test_one_that_closes_and_stays_is_killed(tmp_path: Path) -> None:
    known = load_config(write_config(tmp_path), environ={})
    began = time.monotonic()
    with pytest.raises(NotReadError, match="SIGKILL"):
        await ConfigLoader("faulty_loader").load(tmp_path / "closes and stays", known)
    assert time.monotonic() - began < 30


async def test_a_defect_says_where_it_is(tmp_path: Path) -> None:
    known = load_config(write_config(tmp_path), environ={})
    with pytest.raises(LoaderDefectError, match="KeyError"):
        await ConfigLoader("faulty_loader").load(tmp_path / "has a defect", known)


def niceness_after(path: Path, work: str = "pass") -> int:
    code = (
        "import os, sys, time; from pathlib import Path; from relayd import config_process;"
        f" config_process.give_way_to_deliveries(Path(sys.argv[1])); {work};"
        " print(os.getpriority(os.PRIO_PROCESS, 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, path], check=True, capture_output=True, text=True
    )
    return int(done.stdout) - os.getpriority(os.PRIO_PROCESS, 0)


def test_only_a_file_that_takes_long_is_read_at_a_lower_priority(tmp_path: Path) -> None:
    small, large = tmp_path / "small.yaml", tmp_path / "large.yaml"
    small.write_bytes(b"#" * (LARGE_BYTES - 1))
    large.write_bytes(b"#" * LARGE_BYTES)
    (tmp_path / "link.yaml").symlink_to(large)
    assert niceness_after(small) == 0
    assert niceness_after(tmp_path / "missing.yaml") == 0
    assert niceness_after(large) == 7
    assert niceness_after(tmp_path / "link.yaml") == 7


def test_a_small_file_that_takes_long_gives_way_as_well(tmp_path: Path) -> None:
    small = tmp_path / "small.yaml"
    small.touch()
    until = "exec('while time.process_time() < {}: pass')"
    assert niceness_after(small, until.format(0.8)) == 0
    assert niceness_after(small, until.format(2.6)) == 7


async def test_no_process_can_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = load_config(write_config(tmp_path), environ={})

    def refuse(*_: object, **__: object) -> None:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(relayd.config_loader, "start_child", refuse)
    files = open_files()
    with pytest.raises(NotReadError, match=r"no process could be started .* temporarily"):
        await ConfigLoader().load(known.path, known)
    assert open_files() == files


async def test_who_does_not_want_to_wait_hears_that_something_else_is_read(tmp_path: Path) -> None:
    known = load_config(write_config(tmp_path), environ={})
    loader = ConfigLoader("faulty_loader")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(loader.load, tmp_path / "hangs", known)
        while not loader.children():
            await trio.sleep(0.01)
        with trio.fail_after(10), pytest.raises(NotReadError, match="for a reload, or for another"):
            await loader.load(tmp_path / "config.yaml", known, turn_within_s=0.1)
        nursery.cancel_scope.cancel()


async def test_who_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    known = load_config(write_config(tmp_path), environ={})
    loader, files = ConfigLoader("faulty_loader"), open_files()
    children: list[int] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(loader.load, tmp_path / "hangs", known)
        with trio.fail_after(10):
            while not children:
                await trio.sleep(0.01)
                children = loader.children()
        # Neither the configuration nor a secret is on its command line.
        arguments = Path(f"/proc/{children[0]}/cmdline").read_bytes()
        assert b"a-secret" not in arguments
        nursery.cancel_scope.cancel()
    assert not Path(f"/proc/{children[0]}").exists()
    assert open_files() == files
