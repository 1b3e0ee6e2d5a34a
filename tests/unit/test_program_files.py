"""Whether relayd's files are those that a process was started from."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from relayd import __version__, program_files
from relayd.program_files import ProgramChangedError, digest_now, unchanged_program


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A small program in the place of relayd's, just started."""
    (tmp_path / "core").mkdir()
    (tmp_path / "daemon.py").write_text("first")
    (tmp_path / "core" / "values.py").write_text("second")
    monkeypatch.setattr(program_files, "__file__", str(tmp_path / "program_files.py"))
    monkeypatch.setattr(program_files, "digest_at_start", cache(digest_now))
    return tmp_path


CHANGES: dict[str, Callable[[Path], object]] = {
    "another content of the same length": lambda at: (at / "daemon.py").write_text("fi/st"),
    "a file more": lambda at: (at / "core" / "new.py").write_text(""),
    "a file less": lambda at: (at / "core" / "values.py").unlink(),
    "another name": lambda at: (at / "daemon.py").rename(at / "domain.py"),
    "another folder": lambda at: (at / "core" / "values.py").rename(at / "values.py"),
    "a text that moved to the next file": lambda at: (
        (at / "core" / "values.py").write_text(""),
        (at / "daemon.py").write_text("secondfirst"),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_changed_is_noticed(folder: Path, change: str) -> None:
    words = rf"\({__version__}\): restart it"
    with pytest.raises(ProgramChangedError, match=words), unchanged_program():
        CHANGES[change](folder)


def test_it_takes_the_place_of_what_other_code_raises(folder: Path) -> None:
    def use_it() -> None:
        with unchanged_program():
            (folder / "daemon.py").write_text("other")
            raise KeyError

    with pytest.raises(ProgramChangedError):
        use_it()


def test_the_same_contents_written_again_are_the_same_program(folder: Path) -> None:
    before = digest_now()
    with unchanged_program():
        for file in folder.rglob("*.py"):
            text = file.read_text()
            file.unlink()
            file.write_text(text)
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "daemon.py").write_text("not relayd's")
        (folder / "notes.txt").write_text("nor this")
    assert digest_now() == before
