"""A queue in the folder of a spool's owner is refused: that user could replace it."""

import os
from pathlib import Path

import pytest
from processes import write_config

from relayd.config.load import ConfigError, load_config

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="changes owners")

RELAYD, MARKET = 64_201, 64_202


def refused(folder: Path, queue: str) -> bool:
    """Tell whether a configuration is refused with a spool in `folder/market`."""
    config = write_config(
        folder, {}, spools={"market": {"path": "market/spool.db"}}, queue={"path": queue}
    )
    try:
        load_config(config, environ={})
    except ConfigError as error:
        [problem] = error.problems
        assert "spools.market.path" in str(problem)
        assert f"a folder of user {MARKET} that holds the queue" in str(problem)
        return True
    return False


def made(path: Path, owner: int) -> None:
    if path.suffix:
        path.touch()
    else:
        path.mkdir(exist_ok=True)
    os.chown(path, owner, owner)


@pytest.mark.parametrize("queue", ["market/queue.db", "market/below/queue.db", "link/queue.db"])
def test_the_owner_of_a_folder_that_holds_the_queue(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, queue: str
) -> None:
    (tmp_path / "link").symlink_to("market")
    made(tmp_path / "market", MARKET)
    made(tmp_path / "market/below", RELAYD)
    # As the daemon sees it, which is relayd's user.
    monkeypatch.setattr(os, "geteuid", lambda: RELAYD)
    assert refused(tmp_path, queue)
    assert not refused(tmp_path, "queue.db")
    # As root's `check` does: once the queue is there.
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    made(tmp_path / queue, RELAYD)
    assert refused(tmp_path, queue)


@pytest.mark.parametrize("owner", [RELAYD, 0])
def test_a_folder_of_relayds_own_or_of_roots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: int
) -> None:
    made(tmp_path / "market", owner)
    made(tmp_path / "market/queue.db", RELAYD)
    for user in (RELAYD, 0):
        monkeypatch.setattr(os, "geteuid", lambda user=user: user)
        assert not refused(tmp_path, "market/queue.db")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    assert not refused(tmp_path, "market/queue.db")
