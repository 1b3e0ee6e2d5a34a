"""What `status` says of inbound webhooks, from the queue alone."""

from pathlib import Path

import pytest
from queue_file import NOW, opened
from webhooks import inbound, unmappable, webhook

from relayd.queue.overview_values import InboundStanding, Overview
from relayd.queue.sqlite import inbound as standings
from relayd.queue.sqlite.reader import SQLiteReader


def look(path: Path, now: float, *, tallied: bool = True) -> Overview:
    with SQLiteReader(path).snapshot() as snapshot:
        return snapshot.overview(now=now, tallied=tallied)


async def test_each_source_has_what_came_of_its_webhooks(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        assert look(path, NOW).inbound == {}
        await queue.accept([inbound(f"evt_{n}", webhook(f"stripe:evt_{n}")) for n in range(3)])
        await queue.reject([unmappable(webhook("stripe:odd")), unmappable(webhook("stripe:odder"))])
        await queue.reject([unmappable(webhook("mailgun:odd"), "inbound mg")])
        assert look(path, NOW).inbound == {
            "inbound mg": InboundStanding(
                rejected=1, rejected_last_day=1, last_rejected=(3, NOW, "invalid_type")
            ),
            "inbound stripe": InboundStanding(
                accepted=3,
                accepted_last_day=3,
                last_accepted_at=NOW,
                rejected=2,
                rejected_last_day=2,
                last_rejected=(2, NOW, "invalid_type"),
            ),
        }
        later = look(path, NOW + 2 * 86_400).inbound["inbound stripe"]
        assert (later.accepted, later.accepted_last_day, later.last_accepted_at) == (3, 0, NOW)
        assert (later.rejected, later.rejected_last_day) == (2, 0)
        assert look(path, NOW, tallied=False).inbound == {}


async def test_of_very_many_the_newest_are_counted_and_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standings, "LOOKED_AT", 2)
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await queue.accept([inbound(f"evt_{n}", webhook(f"stripe:evt_{n}")) for n in range(3)])
        found = look(path, NOW).inbound["inbound stripe"]
        assert (found.accepted, found.accepted_last_day, found.at_least) == (3, 2, True)
        assert not look(path, NOW + 2 * 86_400).inbound["inbound stripe"].at_least
