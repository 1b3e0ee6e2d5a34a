"""Which files of a configuration are no longer what they were when they were read."""

import os
import pickle
import time
from dataclasses import replace
from pathlib import Path

import pytest

from relayd.config.changed_files import ChangedFile, FileChange, changed_files
from relayd.config.config import Config
from relayd.config.load import load_config
from relayd.config.transfer import pieces_of, received
from relayd.core.parts import whole

TEXT = """market_id: m
spools: {market: {path: spool.db}}
queue: {path: queue.db}
subscriptions:
  books: {url: https://a.example/hook, events: ["*"], secret: {file: secret}}
"""


def written(folder: Path) -> tuple[Path, Path]:
    config, secret = folder / "config.yaml", folder / "secret"
    config.write_text(TEXT)
    secret.write_text("s" * 40)
    secret.chmod(0o600)
    return config, secret


@pytest.fixture
def loaded(tmp_path: Path) -> Config:
    config, _ = written(tmp_path)
    found = load_config(config, environ={})
    # As if they had been written long before: a file's stamp counts.
    stamps = [os.stat(each.path) for each in found.files]  # noqa: PTH116 - as the module has it
    files = tuple(
        replace(
            each,
            stamp=(of.st_dev, of.st_ino, of.st_size, of.st_mtime_ns, of.st_ctime_ns),
        )
        for each, of in zip(found.files, stamps, strict=True)
    )
    return replace(found, files=files)


def test_every_file_is_noted_and_nothing_has_changed(loaded: Config, tmp_path: Path) -> None:
    assert [each.path for each in loaded.files] == [
        str(tmp_path / "config.yaml"),
        str(tmp_path / "secret"),
    ]
    assert changed_files(loaded.files) == []


def test_the_files_come_to_the_daemon(loaded: Config) -> None:
    got = whole(received(memoryview(b"".join(pieces_of(loaded)))))
    assert got.files == loaded.files
    assert b"s" * 40 not in pickle.dumps(got.files)


def test_a_changed_secret(loaded: Config, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("t" * 40)
    expected = [ChangedFile(str(tmp_path / "secret"), FileChange.CHANGED)]
    assert changed_files(loaded.files) == expected


def test_changed_and_changed_back(loaded: Config, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("t" * 40)
    (tmp_path / "secret").write_text("s" * 40)
    assert changed_files(loaded.files) == []


def test_replaced_by_one_with_the_same_size_and_time(loaded: Config, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    before = secret.stat()
    other = tmp_path / "other"
    other.write_text("t" * 40)
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.rename(secret)
    assert [each.change for each in changed_files(loaded.files)] == [FileChange.CHANGED]


def test_written_to_in_place_with_its_time_put_back(loaded: Config, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    before = secret.stat()
    time.sleep(0.02)  # the kernel's tick, which a file's times are made of
    secret.write_text("t" * 40)
    os.utime(secret, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert [each.change for each in changed_files(loaded.files)] == [FileChange.CHANGED]


def test_a_change_in_the_same_tick_as_the_reading(tmp_path: Path) -> None:
    config, secret = written(tmp_path)
    found = load_config(config, environ={})
    secret.write_text("t" * 40)
    assert [each.change for each in changed_files(found.files)] == [FileChange.CHANGED]


def test_a_missing_file_and_a_folder_in_its_place(loaded: Config, tmp_path: Path) -> None:
    (tmp_path / "secret").unlink()
    assert [each.change for each in changed_files(loaded.files)] == [FileChange.MISSING]
    (tmp_path / "secret").mkdir()
    assert [each.change for each in changed_files(loaded.files)] == [FileChange.UNREADABLE]


def test_a_file_that_is_newly_included_is_found(tmp_path: Path) -> None:
    (tmp_path / "subscriptions.d").mkdir()
    config = tmp_path / "config.yaml"
    config.write_text(
        "market_id: m\nsocket: {path: s.sock}\nqueue: {path: q.db}\n"
        "include: subscriptions.d/*.yaml\n"
    )
    loaded = load_config(config, environ={})
    assert changed_files(loaded.files, loaded.include) == []
    (tmp_path / "subscriptions.d" / ".skipped.yaml").touch()
    added = tmp_path / "subscriptions.d" / "shop.yaml"
    added.touch()
    assert changed_files(loaded.files, loaded.include) == [ChangedFile(str(added), FileChange.NEW)]
    again = load_config(config, environ={})
    assert changed_files(again.files, again.include) == []
    added.unlink()
    assert changed_files(again.files, again.include) == [
        ChangedFile(str(added), FileChange.MISSING)
    ]
