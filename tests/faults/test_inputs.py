"""What producers and the configuration's file may hold: bounded memory, a reason, and the rest flows."""

import json
import os
import signal
import socket
import sqlite3
import time
from contextlib import ExitStack, closing, suppress
from pathlib import Path

import pytest
import trio
from faults.injection import long_form
from faults.producing import Producer, insert, peak_memory, producer, states, until
from processes import RelaydProcess, command, make_spool, running, write_config
from receivers import answer, open_receiver

from relayd.core.event import MAX_BODY_BYTES

MEMORY = 150_000_000


def body_of(size: int, event_id: str) -> str:
    """Return data that makes an event's body exactly `size` bytes long."""
    envelope = {
        "id": event_id,
        "type": "order.created",
        "created": 1_700_000_000,  # as many digits as now
        "data": {"object": {"filler": ""}},
        "market_id": "market_123",
        "api_version": "2024-01-01",
    }
    empty = len(json.dumps(envelope, separators=(",", ":")))
    return json.dumps({"object": {"filler": "x" * (size - empty)}})


async def test_an_event_of_1_mib_passes_and_one_byte_more_is_refused(tmp_path: Path) -> None:
    spool = make_spool(tmp_path / "spool.db")
    sizes = {"evt_below": -1, "evt_at": 0, "evt_above": 1}
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        async with running(config) as relayd:
            with closing(sqlite3.connect(spool, isolation_level=None)) as db:
                for event_id, more in sizes.items():
                    data = body_of(MAX_BODY_BYTES + more, event_id)
                    db.execute(
                        "INSERT INTO relayd_spool (id, type, data, created)"
                        " VALUES (?, 'order.created', ?, 1700000000)",
                        (event_id, data),
                    )
            answers = {}
            async with producer(tmp_path) as each:
                for event_id, more in sizes.items():
                    name = event_id.replace("evt", "sck")
                    data = json.loads(body_of(MAX_BODY_BYTES + more, name))
                    answers[event_id] = await each.hand_over(name, **data)
            assert [answer["ok"] for answer in answers.values()] == [True, True, False]
            assert answers["evt_above"]["code"] == "too_large"
            with trio.fail_after(30):
                line = await relayd.logged("input_rejected")
            assert line["code"] == "too_large"
            await until(lambda: len(receiver.requests) == 4)
            assert sorted(len(each.body) for each in receiver.requests) == [
                MAX_BODY_BYTES - 1, MAX_BODY_BYTES - 1, MAX_BODY_BYTES, MAX_BODY_BYTES
            ]  # fmt: skip
            assert peak_memory(relayd.pid) < MEMORY


BAD_ROWS: list[tuple[object, object, object]] = [
    ("evt_utf8", "order.created", b'{"object":{"name":"\xff\xfe"}}'),
    ("evt_nul", "order.created", '{"object":{"name":"a\x00b"}}'),
    ("evt_surrogate", "order.created", b'{"object":{"name":"\xed\xa0\x80"}}'),
    ("evt_deep", "order.created", "[" * 100_000 + "]" * 100_000),
    ("evt_deep_object", "order.created", '{"a":' * 5_000 + "1" + "}" * 5_000),
    ("evt_list", "order.created", "[1, 2]"),
    ("evt_no_json", "order.created", "{'object': 1}"),
    ("evt_nan", "order.created", '{"object": NaN}'),
    ("evt_digits", "order.created", '{"object": ' + "9" * 100_000 + "}"),
    ("evt_blob", "order.created", b"\x00\x01\x02"),
    ("evt with spaces", "order.created", '{"object":{}}'),
    ("evt_type", "Order Created!", '{"object":{}}'),
    (b"\xff\x00", b"\xff", b"\xff"),
    (17, 3.5, 99),
]


async def test_bad_rows_are_set_aside_and_the_rest_flows(tmp_path: Path) -> None:
    spool = tmp_path / "spool.db"
    with closing(sqlite3.connect(spool, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = WAL")
        # Without the table's own checks: producers may have made it by hand.
        db.execute(
            "CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY, id, type, data, created,"
            " market_id, api_version)"
        )
        for number, (event_id, event_type, data) in enumerate(BAD_ROWS):
            row = (event_id, event_type, data)
            db.execute("INSERT INTO relayd_spool (id, type, data) VALUES (?, ?, ?)", row)
            good = (f"evt_good_{number}", "order.created", '{"object":{}}')
            db.execute("INSERT INTO relayd_spool (id, type, data) VALUES (?, ?, ?)", good)
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        async with running(config) as relayd:
            await until(lambda: len(states(tmp_path / "queue.db")) >= len(BAD_ROWS))
            await until(lambda: len(relayd.events("input_rejected")) >= len(BAD_ROWS) - 2)
            assert all(line["code"] and line["detail"] for line in relayd.events("input_rejected"))
            assert peak_memory(relayd.pid) < MEMORY
    accepted = states(tmp_path / "queue.db").keys()
    assert {f"evt_good_{number}" for number in range(len(BAD_ROWS))} <= accepted
    with closing(sqlite3.connect(spool)) as db:
        assert db.execute("SELECT count(*) FROM relayd_spool").fetchone() == (0,)
    with closing(sqlite3.connect(tmp_path / "queue.db")) as db:
        [(rejected,)] = db.execute("SELECT count(*) FROM rejected")
    assert len(accepted) + rejected == 2 * len(BAD_ROWS), "each row is an event, or has a reason"


async def test_a_row_of_200_mib_stays_and_the_rest_flows(tmp_path: Path) -> None:
    spool = make_spool(tmp_path / "spool.db")
    with closing(sqlite3.connect(spool, isolation_level=None)) as db:
        db.execute("PRAGMA ignore_check_constraints = ON")
        db.execute(
            "INSERT INTO relayd_spool (id, type, data)"
            " VALUES ('evt_huge', 'order.created', CAST(zeroblob(200000000) AS TEXT))"
        )
    insert(spool, "evt_behind")
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        async with running(config) as relayd:
            with trio.fail_after(30):
                await relayd.logged("attempt_succeeded", event_id="evt_behind")
                line = await relayd.logged("source_unavailable")
            assert "1 rows are larger" in line["detail"] or "1 row is larger" in line["detail"]
            await trio.sleep(2.5)
            assert len(relayd.events("source_unavailable")) == 1
            assert peak_memory(relayd.pid) < MEMORY


async def test_lines_without_end_and_binary_ones_cost_their_connection_at_most(
    tmp_path: Path,
) -> None:
    make_spool(tmp_path / "spool.db")
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1:9/hook"}})
    async with running(config) as relayd:
        async with await trio.open_unix_socket(tmp_path / "relayd.sock") as endless:
            for _ in range(1600):
                await endless.send_all(b"x" * 65_536)  # 100 MiB
            async with producer(tmp_path) as other:
                assert (await other.hand_over("evt_1"))["ok"]
            await endless.send_all(b"\n")
            answer = json.loads(await endless.receive_some())
            assert answer["code"] == "too_large"
        async with await trio.open_unix_socket(tmp_path / "relayd.sock") as binary:
            await binary.send_all(os.urandom(100_000).replace(b"\n", b"") + b"\n")
            assert not json.loads(await binary.receive_some())["ok"]
            await binary.send_all(b'{"type": "order.cre')  # and no more of it
        async with producer(tmp_path) as other:
            assert (await other.hand_over("evt_2"))["ok"]
        assert peak_memory(relayd.pid) < MEMORY
    assert states(tmp_path / "queue.db").keys() == {"evt_1", "evt_2"}


async def test_producers_that_never_read_or_leave_harm_nobody(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1:9/hook", "retry": []}})
    async with running(config) as relayd:
        with ExitStack() as rude:
            for number in range(5):
                client = rude.enter_context(socket.socket(socket.AF_UNIX))
                client.connect(str(tmp_path / "relayd.sock"))
                client.setblocking(False)
                # Writes on and on, and reads no answer.
                line = json.dumps({"type": "order.created", "data": {"n": number}}) + "\n"
                with suppress(BlockingIOError):
                    for _ in range(2_000):
                        client.send(line.encode() * 20)
            for number in range(20):
                async with producer(tmp_path) as gone:
                    await gone.send(f"evt_gone_{number}")
            async with producer(tmp_path) as other:
                began = time.monotonic()
                assert (await other.hand_over("evt_1"))["ok"]
                assert time.monotonic() - began < 3.0
        assert peak_memory(relayd.pid) < MEMORY
        assert not relayd.events("daemon_internal_error")


async def test_a_thousand_idle_producers(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1:9/hook"}})
    async with running(config) as relayd:
        async with producer(tmp_path) as first:
            assert (await first.hand_over("evt_1"))["ok"]
            with ExitStack() as idle:
                refused = 0
                for number in range(1_000):
                    client = idle.enter_context(socket.socket(socket.AF_UNIX))
                    # Waits while the listener's backlog is full.
                    await trio.to_thread.run_sync(client.connect, str(tmp_path / "relayd.sock"))
                    if number >= 500:
                        client.settimeout(5)
                        refused += b'"busy"' in client.recv(1000)
                assert refused >= 490
                assert (await first.hand_over("evt_2"))["ok"], "who is connected goes on"
                assert peak_memory(relayd.pid) < MEMORY
        async with producer(tmp_path) as other:
            assert (await other.hand_over("evt_3"))["ok"], "and there is room again"


def bomb() -> str:
    """Return YAML that is 4^25 values once its aliases are walked."""
    lines = ["a0: &a0 [x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 4)}]" for n in range(1, 26)]
    return "\n".join(lines)


MUTANTS: dict[str, bytes | None] = {
    "empty": b"",
    "binary": os.urandom(5_000),
    "nul": b"\x00" * 1_000,
    "aliases": bomb().encode(),
    "deep": b"a: " + b"[" * 50_000,
    "large": b"subscriptions:\n" + b"".join(b"  s%d: {url: x}\n" % n for n in range(60_000)),
    "huge": b"# a comment\n" * 5_000_000,
    "tags": b"market_id: !!python/object/apply:os.system ['touch owned']\n",
    "on": b"market_id: on\n",
    "missing": None,
}


async def test_a_bad_file_on_sighup_changes_nothing_and_delays_nothing(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        good = config.read_text()
        mutants = MUTANTS | {
            "half": good[: len(good) // 2].encode(),
            "misspelt": good.replace("subscriptions:", "subscription:").encode(),
            "no secret": good.replace("secret:", "secret: {env: RELAYD_NOT_SET} #").encode(),
        }
        async with running(config) as relayd, producer(tmp_path) as each:
            slowest = 0.0
            for name, text in mutants.items():
                if text is None:
                    config.unlink()
                else:
                    config.write_bytes(text)
                seen = len(relayd.lines)
                relayd.signal(signal.SIGHUP)
                slowest = max(slowest, await delivering(relayd, each, name, seen))
                details = [
                    line["detail"] for line in relayd.events("reload_refused") if line["detail"]
                ]
                assert details, name
                assert any("config.yaml" in detail for detail in details), name
            assert not (tmp_path / "owned").exists()
            assert slowest < 1.0, "the file is read beside what goes on"
            # A file with as many values as may be takes 90 MB while it is read.
            assert peak_memory(relayd.pid) < MEMORY + 50_000_000
            # What cannot be opened, and what never ends.
            for odd in ("fifo", "folder", "loop"):
                config.unlink(missing_ok=True)
                if odd == "fifo":
                    os.mkfifo(config)
                elif odd == "folder":
                    config.mkdir()
                else:
                    config.symlink_to(config)
                seen = len(relayd.lines)
                relayd.signal(signal.SIGHUP)
                await delivering(relayd, each, odd, seen)
                if odd == "folder":
                    config.rmdir()
            config.unlink()
            # As Kubernetes and careful operators do it: the link is swapped at once.
            (tmp_path / "new.yaml").write_text(good.replace("1000/s", "2000/s"))
            (tmp_path / "link").symlink_to("new.yaml")
            (tmp_path / "link").rename(config)
            seen = len(relayd.lines)
            relayd.signal(signal.SIGHUP)
            with trio.fail_after(30):
                await relayd.logged("configuration_reloaded", after=seen)


async def delivering(relayd: RelaydProcess, each: Producer, name: str, seen: int) -> float:
    """Hand over events until the reload is refused; return the longest wait for an answer."""
    slowest = 0.0
    with trio.fail_after(30):
        for number in range(100_000):
            began = time.monotonic()
            answer = await each.hand_over(f"evt_{name.replace(' ', '_')}_{number}")
            assert answer["ok"]
            slowest = max(slowest, time.monotonic() - began)
            if any(line["event"] == "reload_refused" for line in relayd.lines[seen:]):
                break
    return slowest


async def test_a_subscription_that_goes_is_told_and_its_backlog_waits(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver(answer(500), answer(200)) as receiver:
        books = {"url": receiver.url, "rate_limit": "1000/s", "retry": ["8s"] * 9}
        config = write_config(tmp_path, {"books": books})
        async with running(config) as relayd, producer(tmp_path) as each:
            assert (await each.hand_over("evt_1"))["ok"]
            with trio.fail_after(30):
                await relayd.logged("retry_scheduled")
            write_config(tmp_path, {"other": {"url": "http://127.0.0.1:9/hook"}})
            relayd.signal(signal.SIGHUP)
            with trio.fail_after(30):
                line = await relayd.logged("configuration_reloaded")
            assert any("books" in change for change in line["changes"]), line
            await trio.sleep(8.9)
            assert len(receiver.requests) == 1, "it is held"
            assert "held" in await command("deliveries", config=config)
            write_config(tmp_path, {"books": books})
            relayd.signal(signal.SIGHUP)
            with trio.fail_after(30):
                await relayd.logged("attempt_succeeded", event_id="evt_1")


@long_form
@pytest.mark.timeout(600)
async def test_ten_thousand_subscriptions(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver() as receiver:
        subscriptions = {
            f"s{number}": {
                "url": receiver.url.replace("/hook", f"/{number % 100}"),
                "events": "order.created" if number % 1000 == 0 else "order.updated",
                "rate_limit": "1000/s",
            }
            for number in range(10_000)
        }
        config = write_config(tmp_path, subscriptions)
        async with running(config) as relayd, producer(tmp_path) as each:
            assert (await each.hand_over("evt_1"))["ok"]
            await until(lambda: len(receiver.requests) == 10)
            seen = len(relayd.lines)
            relayd.signal(signal.SIGHUP)
            with trio.fail_after(60):
                await relayd.logged("configuration_reloaded", after=seen)


@long_form
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("rows", "taken"), [(1_000_000, 1_000_000), (10_000_000, 200_000)])
async def test_millions_of_rows_in_the_spool(tmp_path: Path, rows: int, taken: int) -> None:
    spool = make_spool(tmp_path / "spool.db")
    with closing(sqlite3.connect(spool)) as db:
        db.execute(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?)"
            " INSERT INTO relayd_spool (id, type, data) SELECT printf('evt_%08d', i),"
            """ 'order.created', '{"object":{}}' FROM n""",
            (rows,),
        )
        db.commit()
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1:9/hook"}})
    async with running(config) as relayd:
        with closing(sqlite3.connect(spool, timeout=30)) as db:
            await until(lambda: (first_row(db) or rows + 1) > taken, 600, 1.0)
        assert peak_memory(relayd.pid) < MEMORY


def first_row(db: sqlite3.Connection) -> int | None:
    """Return the number of the first row that is still in a spool."""
    [(seq,)] = db.execute("SELECT min(seq) FROM relayd_spool")
    return None if seq is None else int(seq)
