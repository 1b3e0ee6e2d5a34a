"""Loading in a child process gives what loading here gives, whatever becomes of the child."""

import os
import pickle
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from processes import write_config

from relayd import program_files
from relayd.config import load_in_child
from relayd.config.load import load_config
from relayd.config.load_in_child import load_config_in_child
from relayd.config.problem import ConfigError
from relayd.program_files import ProgramChangedError

# From Python 3.12 on, a fork where there are threads warns; pytest's process may have some.
pytestmark = pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")

ENVIRON = {"SHOP": "another-secret-of-tests"}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return write_config(
        tmp_path,
        {
            "books": {
                "url": "http://127.0.0.1:9/hook",
                "where": {"data.object.total": {"gte": 5000}},
                "headers": {"X-Key": "a-value"},
                "previous_secret": "the-secret-before",
            },
            "shop": {"url": "http://127.0.0.1:9/shop", "secret": {"env": "SHOP"}, "active": False},
        },
        event_types=["a.b"],
    )


def test_a_good_file_gives_the_same_configuration(good: Path) -> None:
    here, loaded = load_config(good, environ=ENVIRON), load_config_in_child(good, environ=ENVIRON)
    assert loaded == here
    assert (loaded.path, loaded.warnings) == (here.path, here.warnings)
    assert loaded.subscriptions["shop"].secret == here.subscriptions["shop"].secret
    with pytest.raises(TypeError):
        loaded.subscriptions["new"] = loaded.subscriptions["shop"]  # type: ignore[index]  # on purpose


def test_a_bad_file_gives_the_same_problems(tmp_path: Path) -> None:
    bad = write_config(tmp_path, {"books": {"url": "ftp://x"}}, quue=1)
    with pytest.raises(ConfigError) as here:
        load_config(bad, environ={})
    with pytest.raises(ConfigError) as loaded:
        load_config_in_child(bad, environ={})
    assert loaded.value.problems == here.value.problems


_fork = os.fork


def _no_room() -> int:
    raise BlockingIOError("no process is left")


def _killed() -> int:
    pid = _fork()
    if pid == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return pid


@pytest.mark.parametrize("fork", [_no_room, _killed])
def test_without_a_result_from_a_child_it_is_loaded_here(
    good: Path, monkeypatch: pytest.MonkeyPatch, fork: Callable[[], int]
) -> None:
    open_before = sorted(Path("/proc/self/fd").iterdir())
    monkeypatch.setattr(os, "fork", fork)
    assert load_config_in_child(good, environ=ENVIRON) == load_config(good, environ=ENVIRON)
    assert sorted(Path("/proc/self/fd").iterdir()) == open_before


def test_a_defect_is_met_here(
    good: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def defect(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(load_in_child, "load_config", defect)
    with pytest.raises(ZeroDivisionError):
        load_config_in_child(good, environ=ENVIRON)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("fork", [os.fork, _no_room])
def test_files_that_were_replaced_since_the_start_are_not_mixed_in(
    good: Path, monkeypatch: pytest.MonkeyPatch, fork: Callable[[], int]
) -> None:
    monkeypatch.setattr(os, "fork", fork)
    monkeypatch.setattr(program_files, "digest_at_start", lambda: "that of the files before")
    with pytest.raises(ProgramChangedError, match="restart it"):
        load_config_in_child(good, environ=ENVIRON)


def test_a_secret_goes_through_no_other_pickle(good: Path) -> None:
    loaded = load_config_in_child(good, environ=ENVIRON)
    with pytest.raises(TypeError, match="not written anywhere"):
        pickle.dumps(loaded.subscriptions["shop"])
