"""Commands that need a part of the configuration live with faults in the others."""

from pathlib import Path
from typing import Any

import pytest
from processes import write_config

from relayd.config.partial import read_places
from relayd.config.problem import ConfigError


def test_places(tmp_path: Path) -> None:
    places = read_places(write_config(tmp_path), "queue", "spools", "socket")
    assert places.queue.path == tmp_path / "queue.db"
    assert [(spool.name, spool.path) for spool in places.spools] == [
        ("market", tmp_path / "spool.db")
    ]
    assert places.socket is not None
    assert places.socket.path == tmp_path / "relayd.sock"
    assert "order.created" in places.event_types


@pytest.mark.parametrize(
    "fault",
    [
        {"unknown": 1},
        {"log": {"level": "loud"}},
        {"subscriptions": {"books": {"url": "ftp://x/", "events": "*", "secret": "short"}}},
        {
            "subscriptions": {
                "books": {
                    "url": "https://x.example/",
                    "events": "*",
                    "secret": {"file": "/nowhere/secret"},
                }
            }
        },
    ],
)
def test_faults_elsewhere_do_no_harm(tmp_path: Path, fault: dict[str, Any]) -> None:
    path = write_config(tmp_path, **fault)
    assert read_places(path, "queue", "spools", "socket", environ={}).spools


@pytest.mark.parametrize("fault", [None, {"path": 7}, {"pth": "queue.db"}, {"path": "~/queue.db"}])
def test_a_fault_in_a_needed_part_is_told(tmp_path: Path, fault: object) -> None:
    path = write_config(tmp_path, queue=fault)
    with pytest.raises(ConfigError, match="queue"):
        read_places(path, "queue")
    assert read_places(path, "spools").spools


def test_files_that_are_no_configuration(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    with pytest.raises(ConfigError, match="does not exist"):
        read_places(path, "queue")
    path.write_text("[1, 2")
    with pytest.raises(ConfigError):
        read_places(path)
