"""Reading a file: whatever is there, an answer comes."""

import errno
import os
from pathlib import Path

import pytest

from relayd.config.changed_files import FileChange, changed_files
from relayd.config.reading import FileContent, Unreadable, read_file, recorded_reads


def test_a_file_is_read_to_one_byte_past_the_limit(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    path.chmod(0o640)
    assert read_file(path, 10) == FileContent(b"12345", 0o640, os.getegid(), os.geteuid())
    assert read_file(path, 3) == FileContent(b"1234", 0o640, os.getegid(), os.geteuid())


def test_what_is_no_file_is_told(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert read_file(tmp_path / "none", 10) == Unreadable("does not exist", missing=True)
    assert read_file(tmp_path, 10) == Unreadable("is a directory")
    assert read_file(tmp_path / "pipe", 10) == Unreadable("is not a file")
    assert read_file(Path("/dev/zero"), 10) == Unreadable("is not a file")
    assert read_file(Path("a\0b"), 10) == Unreadable("is not a valid path")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    assert isinstance(read_file(tmp_path / "loop", 10), Unreadable)


def test_a_file_without_permission_names_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> int:
        raise PermissionError(13, "Permission denied")

    # Root, as whom tests often run, may read everything.
    monkeypatch.setattr(os, "open", refuse)
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    assert read_file(tmp_path / "file", 10) == Unreadable(
        "cannot be opened by user 4000000: Permission denied"
    )


def test_no_descriptor_is_left_open(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        read_file(tmp_path, 10)
        read_file(tmp_path / "file", 10)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_a_file_with_nothing_to_read_yet_is_unreadable(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As /proc/kmsg is: a file, which waits for what comes."""
    (tmp_path / "a").write_text("a")

    def not_yet(*_: int) -> bytes:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr(os, "read", not_yet)
    found = read_file(tmp_path / "a", 10)
    assert found == Unreadable("cannot be read: Resource temporarily unavailable")


def test_a_file_that_is_written_to_while_it_is_read_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"old" * 500_000)
    parts = 0
    read = os.read

    def meanwhile(descriptor: int, size: int) -> bytes:
        nonlocal parts
        part = read(descriptor, size)
        parts += 1
        if parts == 1:
            path.write_bytes(b"new!" * 400_000)
        return part

    monkeypatch.setattr(os, "read", meanwhile)
    content = read_file(path, 2_000_000)
    assert isinstance(content, FileContent)
    assert content.raw == b"new!" * 400_000


def test_a_file_that_never_stands_still_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"x")
    read = os.read

    def meanwhile(descriptor: int, size: int) -> bytes:
        part = read(descriptor, size)
        if not part:
            with path.open("ab") as file:
                file.write(b"x")
        return part

    monkeypatch.setattr(os, "read", meanwhile)
    found = read_file(path, 2_000_000)
    assert isinstance(found, Unreadable)
    assert "is being written to" in found.reason


def test_a_thousand_secrets_of_which_one_changes_meanwhile(tmp_path: Path) -> None:
    paths = [tmp_path / f"secret_{number}" for number in range(1_000)]
    for each in paths:
        each.write_text("first-0123456789")
    with recorded_reads() as found:
        for number, each in enumerate(paths):
            if number == 500:
                for changed in (paths[100], paths[900]):
                    changed.write_text("second-0123456789")
            content = read_file(each, 100)
            assert isinstance(content, FileContent)
            text = content.raw.decode()
            assert text == ("second" if number == 900 else "first") + "-0123456789"
    changes = changed_files(list(found.values()))
    assert [(each.path, each.change) for each in changes] == [(str(paths[100]), FileChange.CHANGED)]
