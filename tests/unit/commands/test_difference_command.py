"""What becomes of the deliveries that wait for a subscription when the configuration changes."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from relayd.commands.consequences import Consequences
from relayd.commands.difference import what_becomes
from relayd.config.config import Config
from relayd.config.difference import Difference, difference
from relayd.config.load import parse_config
from relayd.core.hold import Hold, Holds
from relayd.queue.values import Waiting
from relayd.views.moments import clock_time

URL = "https://books.example/"
PLAIN: dict[str, object] = {"url": URL, "events": ["*"], "secret": "4f1c9a7d2be84d6fa5c0"}
FREE = Waiting(3, Holds(), URL)
PAUSED = Waiting(3, Holds({Hold.PAUSED}), URL)
GONE = Waiting(3, Holds({Hold.GONE}), URL)
HELD = Waiting(3, Holds({Hold.INACTIVE}), URL)


def config(books: dict[str, object] | None) -> Config:
    return configured({} if books is None else {"books": books})


def configured(subscriptions: dict[str, dict[str, object]]) -> Config:
    file = {
        "market_id": "market_1",
        "socket": {"path": "relayd.sock"},
        "queue": {"path": "queue.db"},
        "subscriptions": subscriptions,
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
        (None, {}, GONE, "stay_held"),
        (None, {"url": "https://new.example/"}, GONE, "go_on"),
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


IDLE = Waiting(0, Holds({Hold.PAUSED}), URL)
STILL = "its backlog of 3 is still held"
RENAME = "`relayd rename books {} ` hands it over to another name".replace(" `", "`")


def notes_of(found: Difference, waiting: dict[str, Waiting], after: Config) -> dict[str, str]:
    return Consequences(found, waiting, after, {}, {}, {}).notes()


@pytest.mark.parametrize(
    ("old", "new", "waiting", "note"),
    [
        (None, {}, IDLE, "it is still paused: `relayd resume books` resumes it"),
        (
            None,
            {},
            PAUSED,
            f"{STILL}; it is still paused: `relayd resume books` resumes it",
        ),
        (
            None,
            {},
            GONE,
            f"{STILL}; its receiver answered 410 Gone: `relayd resume books` resumes it",
        ),
        (None, {"url": "https://new.example/"}, GONE, "its backlog of 3 is no longer held"),
        (None, {}, HELD, "its backlog of 3 is no longer held"),
        (None, {"active": False}, HELD, "its backlog of 3 is still held"),
        ({}, None, FREE, f"its backlog of 3 is held; {RENAME.format('NEW')}"),
        ({}, None, PAUSED, f"its backlog of 3 is still held; {RENAME.format('NEW')}"),
        ({}, None, IDLE, None),
        ({}, {"timeout": "5s"}, PAUSED, None),
        ({}, {"url": "https://new.example/"}, FREE, None),
        ({}, {"url": "https://new.example/"}, GONE, "its backlog of 3 is no longer held"),
        ({"active": False}, {}, HELD, "its backlog of 3 is no longer held"),
        ({}, {"active": False}, FREE, "its backlog of 3 is held"),
    ],
)
def test_what_a_reload_says_of_what_waits(
    old: dict[str, object] | None,
    new: dict[str, object] | None,
    waiting: Waiting,
    note: str | None,
) -> None:
    before, after = (config(None if each is None else PLAIN | each) for each in (old, new))
    found = difference(before, after)
    notes = notes_of(found, {"books": waiting}, after)
    assert notes == ({} if note is None else {"books": note})
    [line] = found.lines(notes)
    assert line.endswith(note or "")
    # Without anything in the queue there is nothing to say.
    assert notes_of(found, {}, after) == {}


@pytest.mark.parametrize(
    ("waiting", "hold", "note"),
    [
        (FREE, None, "2 retries released: attempted now, beside the schedule"),
        (PAUSED, Hold.PAUSED, f"{STILL}; 2 retries released: held"),
        (
            GONE,
            None,
            (
                "its backlog of 3 is no longer held;"
                " 2 retries released: attempted now, beside the schedule"
            ),
        ),
    ],
)
def test_a_reload_says_what_it_releases(waiting: Waiting, hold: Hold | None, note: str) -> None:
    before, after = config(PLAIN), config(PLAIN | {"url": "https://new.example/"})
    done = Consequences(
        difference(before, after), {"books": waiting}, after, {"books": 2}, {"books": hold}, {}
    )
    assert done.notes() == {"books": note}
    throttled = replace(done, held_until={"books": 1_700_000_000.0})
    held = f"held back until {clock_time(1_700_000_000.0)} (429 or 503)"
    assert throttled.notes() == {
        "books": note.replace("attempted now, beside the schedule", held)
    }, "it is not attempted before"
    assert done.document() == {
        "released": {"books": 2},
        "no_longer_held": {"books": 3} if waiting is GONE else {},
    }


def test_a_renamed_subscription_is_known_by_its_url() -> None:
    before = config(PLAIN)
    file = PLAIN | {"url": "https://other.example/"}
    for others, successor in (({"b": PLAIN, "c": file}, "b"), ({"b": PLAIN, "c": PLAIN}, "NEW")):
        after = configured(others)
        notes = notes_of(difference(before, after), {"books": FREE}, after)
        assert RENAME.format(successor) in notes["books"]
