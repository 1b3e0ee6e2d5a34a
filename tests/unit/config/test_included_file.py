"""An included file is written whole or not at all, and never over another one."""

import errno
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from relayd.config import included_file
from relayd.config.included_file import (
    ChangedMeanwhileError,
    locked_folder,
    put_again,
    put_back,
    put_in_place,
    read_whole,
    remove,
    set_aside,
    write_new,
)


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def failing(number: int) -> Any:
    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return fail


def test_it_is_written_for_its_owner_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write_new(tmp_path / "a.yaml", b"text")
    finally:
        os.umask(before)
    assert (tmp_path / "a.yaml").read_bytes() == b"text"
    assert (tmp_path / "a.yaml").stat().st_mode & 0o7777 == 0o600
    assert (tmp_path / "a.yaml").stat().st_nlink == 1
    assert names(tmp_path) == ["a.yaml"]


@pytest.mark.parametrize("links", [True, False])
def test_another_file_is_never_replaced(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
    write_new(tmp_path / "a.yaml", b"first")
    (tmp_path / "b.yaml").symlink_to("nowhere")
    for name in ("a.yaml", "b.yaml"):
        with pytest.raises(FileExistsError):
            write_new(tmp_path / name, b"second")
    assert read_whole(tmp_path / "a.yaml") == b"first"
    assert names(tmp_path) == ["a.yaml", "b.yaml"]


@pytest.mark.parametrize("call", ["fsync", "link", "fchmod"])
def test_what_the_disk_refuses_leaves_no_file(
    tmp_path: Path, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, call, failing(errno.ENOSPC))
    with pytest.raises(OSError, match="No space left"):
        write_new(tmp_path / "a.yaml", b"text")
    assert names(tmp_path) == []


def test_the_file_and_then_its_name_are_made_durable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []
    fsync, link = os.fsync, os.link

    def synced(descriptor: int) -> None:
        calls.append("folder" if Path(f"/proc/self/fd/{descriptor}").is_dir() else "file")
        fsync(descriptor)

    def linked(*given: Any, **more: Any) -> None:
        calls.append("name")
        link(*given, **more)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "link", linked)
    write_new(tmp_path / "a.yaml", b"text")
    assert calls == ["file", "name", "folder"]


@pytest.mark.parametrize(
    "change",
    [
        lambda path: write_new(path.with_name("b.yaml"), b"second"),
        lambda path: put_in_place(path, b"second", sha256(b"first").digest()),
        set_aside,
    ],
    ids=["write", "replace", "set aside"],
)
def test_what_cannot_be_made_durable_has_not_happened(
    tmp_path: Path, change: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.yaml"
    write_new(path, b"first")
    fsync = os.fsync

    def failing_for_folders(descriptor: int) -> None:
        if Path(f"/proc/self/fd/{descriptor}").is_dir():
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing_for_folders)
    with pytest.raises(OSError, match="Input/output error"):
        change(path)
    assert names(tmp_path) == ["a.yaml"]
    assert path.read_bytes() == b"first"


def test_one_that_is_set_aside_comes_back_or_goes(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    write_new(path, b"text")
    os.utime(path, (0, 0))
    aside = set_aside(path)
    assert aside.name.startswith(".relayd-")
    assert names(tmp_path) == [aside.name]
    write_new(tmp_path / "b.yaml", b"other")  # leaves alone what is under way
    put_back(aside, path)
    assert path.read_bytes() == b"text"
    aside = set_aside(path)
    remove(aside)
    remove(aside)
    assert names(tmp_path) == ["b.yaml"]


def test_what_a_killed_process_left_goes_after_an_hour(tmp_path: Path) -> None:
    for name, age in ((".relayd-old", 0), (".other", 0)):
        (tmp_path / name).write_text("a secret")
        os.utime(tmp_path / name, (age, age))
    (tmp_path / ".relayd-new").write_text("a secret")
    write_new(tmp_path / "a.yaml", b"text")
    assert names(tmp_path) == [".other", ".relayd-new", "a.yaml"]


def test_a_missing_folder_is_an_error_of_the_system(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_new(tmp_path / "none" / "a.yaml", b"text")


def test_a_lock_that_somebody_holds_is_not_waited_for_without_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(included_file, "_TURN_S", 0.1)
    with (
        locked_folder(tmp_path),
        pytest.raises(OSError, match="another program holds its lock"),
        locked_folder(tmp_path),
    ):
        pass
    with locked_folder(tmp_path):
        pass


@pytest.mark.parametrize("links", [True, False])
def test_one_file_takes_the_place_of_another_and_gives_it_back(
    tmp_path: Path, links: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not links:
        monkeypatch.setattr(os, "link", failing(errno.EPERM))
    path = tmp_path / "a.yaml"
    write_new(path, b"first")
    with pytest.raises(ChangedMeanwhileError):
        put_in_place(path, b"second", sha256(b"other").digest())
    assert names(tmp_path) == ["a.yaml"]
    aside = put_in_place(path, b"second", sha256(b"first").digest())
    assert aside.name.startswith("."), "it is not included"
    assert (read_whole(path), read_whole(aside)) == (b"second", b"first")
    assert path.stat().st_mode & 0o7777 == aside.stat().st_mode & 0o7777 == 0o600
    put_again(aside, path)
    assert read_whole(path) == b"first"
    assert names(tmp_path) == ["a.yaml"]
