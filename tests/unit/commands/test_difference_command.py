"""What becomes of the deliveries that wait for a subscription when the configuration changes."""

from pathlib import Path

import pytest
import yaml

from relayd.commands.difference import what_becomes
from relayd.config.config import Config
from relayd.config.difference import difference
from relayd.config.load import parse_config
from relayd.queue.affected import Waiting

PLAIN = {"url": "https://books.example/", "events": ["*"], "secret": "4f1c9a7d2be84d6fa5c0"}
FREE = Waiting(3, held=False, paused=False, gone=False)
PAUSED = Waiting(3, held=True, paused=True, gone=False)
GONE = Waiting(3, held=True, paused=False, gone=True)
HELD = Waiting(3, held=True, paused=False, gone=False)


def config(books: dict[str, object] | None) -> Config:
    file = {
        "market_id": "market_1",
        "socket": {"path": "relayd.sock"},
        "queue": {"path": "queue.db"},
        "subscriptions": {} if books is None else {"books": books},
    }
    return parse_config(yaml.safe_dump(file).encode(), Path("/etc/relayd/config.yaml"), environ={})


@pytest.mark.parametrize(
    ("old", "new", "waiting", "expected"),
    [
        ({}, {"url": "https://new.example/"}, FREE, "follow"),
        ({}, {"timeout": "5s"}, FREE, "follow"),
        ({}, {"events": ["order.*"]}, FREE, "stay"),
        ({}, {"events": ["order.*"], "where": {"data.object.total": 5}}, FREE, "stay"),
        ({}, {"events": ["order.*"], "retry": ["1h"]}, FREE, "follow"),
        ({}, {"active": False}, FREE, "hold"),
        ({"active": False}, {}, HELD, "go_on"),
        ({"active": False}, {"active": False, "timeout": "5s"}, HELD, "stay_held"),
        ({}, None, FREE, "hold"),
        ({}, None, PAUSED, "stay_held"),
        (None, {}, HELD, "go_on"),
        (None, {}, PAUSED, "stay_held"),
        ({}, {"timeout": "5s"}, PAUSED, "stay_held"),
        ({}, {"url": "https://new.example/"}, PAUSED, "stay_held"),
        ({}, {"timeout": "5s"}, GONE, "stay_held"),
        ({}, {"url": "https://new.example/"}, GONE, "go_on"),
    ],
)
def test_what_becomes_of_what_waits(
    old: dict[str, object] | None,
    new: dict[str, object] | None,
    waiting: Waiting,
    expected: str,
) -> None:
    before, after = (config(None if each is None else PLAIN | each) for each in (old, new))
    assert what_becomes("books", waiting, difference(before, after), after) == expected
