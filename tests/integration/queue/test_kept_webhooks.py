"""What inbound webhooks leave in the queue's file: raw bodies, and tokens."""

from pathlib import Path

import pytest
from queue_file import NOW, opened, rows_of
from webhooks import inbound, webhook

from relayd.core.expiry import Expiry
from relayd.core.webhook import KEPT_RAW_BYTES
from relayd.queue.interface import QueueError
from relayd.queue.values import Horizon


async def test_the_raw_body_is_kept_beside_the_event_and_goes_with_its_body(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    kept = "SELECT event_seq, body FROM inbound_bodies"
    async with opened(path) as queue:
        await queue.accept([inbound("evt_1", webhook(raw=b"\xff\n\t"))])
        assert rows_of(path, kept) == [(1, b"\xff\n\t")]
        await queue.prune(Horizon(NOW + 1, NOW - 1), [1])
        assert rows_of(path, kept) == []
        assert rows_of(path, "SELECT event_seq, key FROM inbound_events") == [(1, "stripe:evt_1")]
        await queue.prune(Horizon(NOW + 1, NOW + 1), [1])
        assert rows_of(path, "SELECT count(*) FROM inbound_events") == [(0,)]


async def test_of_a_large_one_its_digest_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    large = webhook(raw=b"x" * (KEPT_RAW_BYTES + 1))
    async with opened(path) as queue:
        await queue.accept([inbound("evt_1", large)])
        assert rows_of(path, "SELECT count(*) FROM inbound_bodies") == [(0,)]
        assert rows_of(path, "SELECT raw_bytes, raw_sha256 FROM inbound_events") == [
            (KEPT_RAW_BYTES + 1, large.raw_sha256)
        ]


async def test_tokens_are_forgotten_with_ids(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        await queue.accept([inbound("evt_1", webhook(token="t"))])
        expiry = Expiry(NOW, NOW, 0.0, 0.0)
        await queue.remember_expiry(NOW, expiry, known=NOW - 1)
        assert rows_of(path, "SELECT token FROM inbound_tokens") == [("t",)]
        await queue.remember_expiry(NOW, expiry, known=NOW + 1)
        assert rows_of(path, "SELECT token FROM inbound_tokens") == []


async def test_an_event_that_is_not_committed_leaves_neither_key_nor_token(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    async with opened(path) as queue:
        broken = inbound("evt_2", webhook("mailgun:b", "t-2"), "no such subscription")
        with pytest.raises((KeyError, QueueError)):
            await queue.accept([inbound("evt_1", webhook("mailgun:a", "t-1")), broken])
        for table in ("events", "inbound_events", "inbound_bodies", "inbound_tokens"):
            assert rows_of(path, f"SELECT count(*) FROM {table}") == [(0,)], table
