"""A queue that an older version wrote: what it holds afterwards, and what a kill on the way leaves."""

import hashlib
import re
import sqlite3
from collections import Counter
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest
import structlog.testing
from events import make_event
from queue_file import NOW, rows_of

from relayd.core.acceptance import Acceptance, NewEvent
from relayd.core.durations import BOUNDS_MS, LONGER, bound_ms
from relayd.core.event import Event, EventDefaults
from relayd.core.event_input import event_from_line
from relayd.database import sqlite_loop
from relayd.queue.interface import QueueUnavailable
from relayd.queue.snapshot_values import QueueUnreadableError
from relayd.queue.sqlite import migration
from relayd.queue.sqlite.migration import market_of, move_step
from relayd.queue.sqlite.open_queue import open_queue
from relayd.queue.sqlite.read_only import open_reading
from relayd.queue.sqlite.schema import migrate
from relayd.queue.sqlite.tables import MIGRATIONS, VERSION

QUEUES = Path(__file__).parents[2] / "queues"
VERSION_1 = QUEUES / "version_1.sql"
NUMBERED_SINCE = 4
"""The version that gave events their numbers."""

SCHEMAS = {
    1: "f45fcc5d05d388fc",
    2: "d8e26fc4317a3652",
    3: "fe185192bc174178",
    4: "02e61be092f9cd6d",
    5: "5fa0a8a36a2ff7ab",
    6: "f9933e33772d7fe2",
    7: "ba5ebd45762594b1",
}
"""What each version's tables hash to. A new hash is a new version: add its script to `MIGRATIONS`,
and its line here. A version that was released keeps its own."""


class KilledError(Exception):
    """Ends the process here."""


def write_version_1(path: Path) -> None:
    """Make the file that version 1 wrote: six events, one of which is an id alone."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript(VERSION_1.read_text(encoding="utf-8"))
    path.chmod(0o600)


async def opened_once(path: Path) -> None:
    async with sqlite_loop(), open_queue(path, lambda: NOW):
        pass


async def opened_until_killed(
    path: Path, monkeypatch: pytest.MonkeyPatch, steps: int | None
) -> bool:
    """Open the queue, and kill that after so many steps; return whether it came to that."""
    done = 0

    def killed_after(db: sqlite3.Connection) -> migration.Step:
        nonlocal done
        if done == steps:
            raise KilledError
        done += 1
        return move_step(db)

    with monkeypatch.context() as patch:
        patch.setattr(migration, "move_step", killed_after)
        try:
            await opened_once(path)
        except (KilledError, ExceptionGroup):
            return True
    return False


def schema_hash(db: sqlite3.Connection) -> str:
    found = db.execute("SELECT sql FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY name")
    texts = [re.sub(r"--[^\n]*|\s+|\"", " ", sql) for (sql,) in found]
    columns = " ".join(" ".join(text.split()) for text in texts)
    return hashlib.sha256(columns.encode()).hexdigest()[:16]


def test_the_version_changes_whenever_the_tables_do() -> None:
    assert len(SCHEMAS) == VERSION == len(MIGRATIONS)
    for version, expected in SCHEMAS.items():
        with closing(sqlite3.connect(":memory:", isolation_level=None)) as db:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr("relayd.queue.sqlite.schema.MIGRATIONS", MIGRATIONS[:version])
                migrate(db, 0, "tag")
            assert schema_hash(db) == expected, f"version {version}"


async def test_a_queue_of_version_1_is_the_same_afterwards_and_knows_its_markets(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.db"
    write_version_1(path)
    columns = "seq, id, type, created, accepted_at, source, digest, body"
    before = rows_of(path, f"SELECT {columns} FROM events ORDER BY seq")
    others = ("deliveries", "attempts", "subscriptions", "endpoints", "rejected", "attempt_counts")
    kept = {name: rows_of(path, f"SELECT * FROM {name}") for name in others}
    with structlog.testing.capture_logs() as logs:
        await opened_once(path)
    assert [line["event"] for line in logs] == ["queue_upgrading", "queue_upgraded"]
    assert rows_of(path, f"SELECT {columns} FROM events ORDER BY seq") == before
    for name in others:
        after = [row[: len(kept[name][0])] for row in rows_of(path, f"SELECT * FROM {name}")]
        assert after == kept[name], name
    assert {row[0]: row[1] for row in rows_of(path, "SELECT id, market_id FROM events")} == {
        **{f"evt_{number}": "market_123" for number in range(4)},
        "evt_other": 'market_ö "2"',
        "evt_id_only": "",
    }
    assert rows_of(path, "PRAGMA integrity_check") == [("ok",)]
    assert rows_of(path, "PRAGMA foreign_key_check") == []
    fresh = tmp_path / "fresh.db"
    await opened_once(fresh)
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(fresh)) as new:
        assert schema_hash(old) == schema_hash(new)
    with open_reading(path) as reading:
        assert reading.tag
    with structlog.testing.capture_logs() as logs:
        await opened_once(path)
    assert logs == [], "it happens once"


async def test_numbers_go_on_where_version_1_stood_though_all_its_events_are_gone(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.db"
    write_version_1(path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM events")
    async with sqlite_loop(), open_queue(path, lambda: NOW) as opened:
        await opened.accept([NewEvent(make_event("evt_new"), "socket", ())])
    assert rows_of(path, "SELECT seq FROM events") == [(7,)]


def of_market(market: str, event_id: str, text: str = "x") -> Event:
    line = f'{{"id":"{event_id}","type":"order.created","data":{{"t":"{text}"}}}}'
    read = event_from_line(line.encode(), EventDefaults(market, "1"), new_id="x", now=1)
    assert isinstance(read, Event)
    return read


async def test_no_id_of_version_1_is_accepted_again(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    write_version_1(path)
    async with sqlite_loop(), open_queue(path, lambda: NOW) as opened:

        async def accept(event: Event) -> Acceptance:
            [result] = await opened.accept([NewEvent(event, "socket", ())])
            return result

        same = of_market('market_ö "2"', "evt_other")
        assert await accept(same) is Acceptance.CONFLICT
        assert await accept(of_market("market_123", "evt_other")) is Acceptance.ACCEPTED
        # Of an id alone the market is not known: it is every market's.
        assert await accept(of_market("market_123", "evt_id_only")) is Acceptance.CONFLICT
        assert await accept(of_market("market_9", "evt_id_only")) is Acceptance.CONFLICT
        line = b'{"id":"evt_id_only","type":"order.created","data":{"object":{}}}'
        for market in ("market_123", "market_9"):
            again = event_from_line(line, EventDefaults(market, "1"), new_id="x", now=1)
            assert isinstance(again, Event)
            assert await accept(again) is Acceptance.DUPLICATE


@pytest.mark.parametrize("steps", range(8))
async def test_a_kill_between_two_steps_loses_nothing_and_the_next_start_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int
) -> None:
    path = tmp_path / "queue.db"
    write_version_1(path)
    before = rows_of(path, "SELECT seq, id, digest, body FROM events ORDER BY seq")
    monkeypatch.setattr(migration, "STEP_BYTES", 1)  # one event a step
    interrupted = await opened_until_killed(path, monkeypatch, steps)
    assert interrupted == (steps < 6)
    if interrupted:
        both = "SELECT seq, id, digest, body FROM {}"
        moved = rows_of(path, both.format("events"))
        left = rows_of(path, both.format("events_1"))
        assert len(moved) == min(steps, 6)
        assert sorted(moved + left) == before
        with pytest.raises(QueueUnreadableError, match="older version"), open_reading(path):
            pass
        assert rows_of(path, "PRAGMA user_version") == [(VERSION,)], "no older relayd opens it"
    await opened_once(path)
    assert rows_of(path, "SELECT seq, id, digest, body FROM events ORDER BY seq") == before
    assert rows_of(path, "SELECT name FROM sqlite_schema WHERE name = 'events_1'") == []


async def test_a_disk_that_is_full_on_the_way_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "queue.db"
    write_version_1(path)
    before = rows_of(path, "SELECT seq, id, digest, body FROM events ORDER BY seq")

    def full(_: sqlite3.Connection) -> migration.Step:
        raise QueueUnavailable(path, "the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(migration, "move_step", full)
        with pytest.raises((QueueUnavailable, BaseExceptionGroup)):
            await opened_once(path)
    await opened_once(path)
    assert rows_of(path, "SELECT seq, id, digest, body FROM events ORDER BY seq") == before


@pytest.mark.parametrize(
    ("body", "market"),
    [
        (None, ""),
        (b"", ""),
        (b"{}", ""),
        (b'{"id":"a","market_id":"m","api_version":"v"}', "m"),
        (b'{"data":{"x":",\\"market_id\\":\\"other\\""},"market_id":"m","api_version":"v"}', "m"),
        (b'{"data":{"a":1,"market_id":"other"},"market_id":"m","api_version":"v"}', "m"),
        (
            '{"data":{},"market_id":"ö,\\"market_id\\":","api_version":"v"}'.encode(),
            'ö,"market_id":',
        ),
        (b'{"data":{},"market_id":"m","api_version":",\\"market_id\\":\\"x\\""}', "m"),
        (b'{"data":{},"market_id":7,"api_version":"v"}', ""),
        (b'{"data":{},"market_id":\xff', ""),
    ],
)
def test_a_bodys_market_is_the_envelopes(body: bytes | None, market: str) -> None:
    assert market_of(body) == market


@pytest.mark.parametrize("market", ["m", "mé🍅", 'a"b', "a\\b", '","market_id":"x', "}"])
def test_the_market_of_what_relayd_wrote_is_found_again(
    market: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    del monkeypatch
    assert market_of(of_market(market, "evt_1", ',\\"market_id\\":\\"n\\"').body) == market


def write_version(version: int, path: Path, *more: tuple[float, bytes | None]) -> None:
    """Make the file that a version wrote, with `more` events: when each was accepted, and its body."""
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.executescript((QUEUES / f"version_{version}.sql").read_text(encoding="utf-8"))
        for number, (accepted_at, body) in enumerate(more):
            db.execute(
                "INSERT INTO events (market_id, id, type, created, accepted_at, source, digest, body)"
                " VALUES ('m', ?, 'order.created', 1, ?, 'socket', x'00', ?)",
                (f"evt_more_{number}", accepted_at, body),
            )
    path.chmod(0o600)


def body_about(object_json: str) -> bytes:
    return f'{{"id":"evt_1","type":"order.created","created":1,"data":{object_json},"market_id":"m"}}'.encode()


@pytest.mark.parametrize("version", range(2, NUMBERED_SINCE))
async def test_a_queue_without_numbers_is_the_same_afterwards_and_its_events_have_numbers(
    tmp_path: Path, version: int
) -> None:
    path = tmp_path / "queue.db"
    write_version(version, path)
    columns = "seq, market_id, id, type, created, accepted_at, source, digest, body"
    before = rows_of(path, f"SELECT {columns} FROM events ORDER BY seq")
    others = ("deliveries", "attempts", "subscriptions", "endpoints", "rejected", "attempt_counts")
    kept = {name: rows_of(path, f"SELECT * FROM {name}") for name in others}
    with structlog.testing.capture_logs() as logs:
        await opened_once(path)
    assert [line["event"] for line in logs] == ["queue_upgrading", "queue_upgraded"]
    assert (logs[0]["events"], logs[1]["events"]) == (4, 4)
    assert rows_of(path, f"SELECT {columns} FROM events ORDER BY seq") == before
    for name in others:
        after = [row[: len(kept[name][0])] for row in rows_of(path, f"SELECT * FROM {name}")]
        assert after == kept[name], name
    numbered = rows_of(path, "SELECT accepted_at, sequence, object_id FROM events ORDER BY seq")
    assert [(int(float(str(at)) * 1e6), "order_456") for at, _, _ in numbered] == [
        (sequence, object_id) for _, sequence, object_id in numbered
    ]
    assert rows_of(path, "SELECT DISTINCT order_key, behind FROM deliveries") == [(None, None)]
    assert rows_of(path, "PRAGMA integrity_check") == [("ok",)]
    fresh = tmp_path / "fresh.db"
    await opened_once(fresh)
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(fresh)) as new:
        assert schema_hash(old) == schema_hash(new)
    with structlog.testing.capture_logs() as logs:
        await opened_once(path)
    assert logs == [], "it happens once"


MORE: tuple[tuple[float, bytes | None], ...] = (
    (NOW, body_about('{"object":{"id":"a"}}')),
    (NOW, body_about('{"object":{"id":17}}')),
    (NOW - 500.0, body_about('{"object":{"id":1.5}}')),  # the clock was set back
    (NOW, body_about('{"object":{"id":true}}')),
    (NOW, body_about('{"object":{"id":"\\ud83e"}}')),  # half of a surrogate pair
    (NOW, body_about('{"object":{"id":"ä\\"b"}}')),
    (NOW, body_about('{"object":[1]}')),
    (NOW, body_about('{"object":{"id":""}}')),
    (NOW, body_about('{"object":{"id":9007199254740993}}')),
    (NOW, body_about('{"object":{"id":"%s"}}' % ("x" * 257))),
    (NOW, b"\xff{"),
    (NOW, None),
)
OBJECT_IDS = ["a", "17", "1.5", None, None, 'ä"b', None, None, "9007199254740993", None, None, None]


@pytest.mark.parametrize("steps", [*range(17), None])
async def test_a_kill_between_two_steps_of_numbering_loses_nothing_and_repeats_no_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int | None
) -> None:
    path = tmp_path / "queue.db"
    write_version(3, path, *MORE)
    before = rows_of(path, "SELECT seq, id, digest, body FROM events ORDER BY seq")
    monkeypatch.setattr(migration, "STEP_BYTES", 1)  # one event with a body a step
    interrupted = await opened_until_killed(path, monkeypatch, steps)
    assert interrupted == (steps is not None and steps < 17)
    if interrupted and steps is not None and steps < 15:
        with pytest.raises(QueueUnreadableError, match="older version"), open_reading(path):
            pass
    async with sqlite_loop(), open_queue(path, lambda: NOW - 9999.0) as opened:
        await opened.accept([NewEvent(make_event("evt_new"), "socket", ())])
    assert rows_of(path, "SELECT seq, id, digest, body FROM events ORDER BY seq")[:-1] == before
    numbers = [int(str(n)) for (n,) in rows_of(path, "SELECT sequence FROM events ORDER BY seq")]
    assert all(earlier < later for earlier, later in pairwise(numbers))
    assert numbers[-1] == numbers[-2] + 1 < 2**53
    found = rows_of(path, "SELECT object_id FROM events WHERE id LIKE 'evt_more%' ORDER BY seq")
    assert [row[0] for row in found] == OBJECT_IDS


def columns_of(path: Path) -> dict[str, str]:
    """Return the tables that a file has, with their columns, as one text."""
    with closing(sqlite3.connect(path)) as db:
        found = db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall()
        return {
            name: ", ".join(row[1] for row in db.execute(f"PRAGMA table_info({name})"))
            for (name,) in found
        }


def contents_of(path: Path, columns: dict[str, str]) -> dict[str, list[tuple[object, ...]]]:
    """Return what these columns hold."""
    return {name: rows_of(path, f"SELECT {those} FROM {name}") for name, those in columns.items()}


async def test_a_queue_of_version_4_is_the_same_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    write_version(4, path)
    kept = ("events", "deliveries", "attempts", "endpoints", "rejected", "attempt_counts")
    columns = {name: columns_of(path)[name] for name in kept}
    before = contents_of(path, columns)
    assert before["deliveries"]
    await opened_once(path)
    assert contents_of(path, columns) == before
    assert rows_of(path, "PRAGMA user_version") == [(VERSION,)]
    assert rows_of(path, "SELECT DISTINCT keeps_place FROM subscriptions") == [(0,)]


async def test_what_blocked_its_order_in_version_4_still_does(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    write_version(4, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("UPDATE deliveries SET order_key = 'k' WHERE state = 'exhausted'")
    await opened_once(path)
    kept = rows_of(path, "SELECT name FROM subscriptions WHERE keeps_place = 1")
    assert kept == [("books",)]


async def test_a_queue_of_version_5_is_the_same_afterwards_and_its_totals_are_what_it_holds(
    tmp_path: Path,
) -> None:
    path = tmp_path / "queue.db"
    write_version(5, path)
    kept = (
        "events",
        "deliveries",
        "attempts",
        "endpoints",
        "rejected",
        "attempt_counts",
        "notices",
    )
    columns = {name: columns_of(path)[name] for name in (*kept, "subscriptions")}
    before = contents_of(path, columns)
    assert before["deliveries"]
    await opened_once(path)
    assert contents_of(path, columns) == before
    assert rows_of(path, "PRAGMA user_version") == [(VERSION,)]
    assert rows_of(path, "SELECT * FROM attempt_totals") == [
        (1, "delivered", 250, 2, 0.25),
        (1, "retrying", 250, 1, 0.25),
        (2, "exhausted", LONGER, 1, 40.0),
        (2, "retrying", 250, 1, 0.25),
    ]
    assert rows_of(path, "SELECT * FROM accepted_totals") == [("socket", 3), ("spool market", 1)]
    # One of three was removed for the limit.
    assert rows_of(path, "SELECT source, count, ever FROM rejected_kept") == [
        ("spool market", 2, 3)
    ]
    fresh = tmp_path / "fresh.db"
    await opened_once(fresh)
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(fresh)) as new:
        assert schema_hash(old) == schema_hash(new)


def test_the_bounds_by_which_version_6_counted_are_those_of_today(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    durations = [0.0, *(ms / 1000 + more for ms in BOUNDS_MS for more in (0.0, 1e-6))]
    write_version(5, path)
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("DELETE FROM attempts")
        db.executemany(
            "INSERT INTO attempts (delivery_seq, number, started_at, duration_s) VALUES (1, ?, 0.0, ?)",
            enumerate(durations, start=1),
        )
        migrate(db, 5, "tag")
    counted = Counter(bound_ms(each) for each in durations)
    assert set(rows_of(path, "SELECT within_ms, count FROM attempt_totals")) == set(counted.items())


async def test_a_queue_of_version_6_is_the_same_afterwards(tmp_path: Path) -> None:
    path = tmp_path / "queue.db"
    write_version(6, path)
    written = {"queue", "sqlite_sequence"}  # each start writes there
    columns = {name: those for name, those in columns_of(path).items() if name not in written}
    kept = contents_of(path, columns)
    assert kept["deliveries"]
    assert kept["feed_removals"]
    await opened_once(path)
    assert contents_of(path, columns) == kept
    assert rows_of(path, "PRAGMA user_version") == [(VERSION,)]
    fresh = tmp_path / "fresh.db"
    await opened_once(fresh)
    with closing(sqlite3.connect(path)) as old, closing(sqlite3.connect(fresh)) as new:
        assert schema_hash(old) == schema_hash(new)


@pytest.mark.parametrize("steps", [*range(7), None])
async def test_events_of_version_1_are_counted_once_each_whenever_it_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, steps: int | None
) -> None:
    path = tmp_path / "queue.db"
    write_version_1(path)
    sources = rows_of(path, "SELECT source, count(*) FROM events GROUP BY source ORDER BY source")
    monkeypatch.setattr(migration, "STEP_BYTES", 1)
    await opened_until_killed(path, monkeypatch, steps)
    await opened_once(path)
    assert rows_of(path, "SELECT * FROM accepted_totals ORDER BY source") == sources
