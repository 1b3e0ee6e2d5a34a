"""The operator's year: outages, replays, pauses, rejected rows; real processes and receivers."""

import json
import signal
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
import trio
from faults.producing import until
from operating import Switch, asked, emit, logged
from processes import (
    SECRET,
    command,
    make_spool,
    run_command,
    running,
    started,
    write_config,
)
from receivers import answer, open_receiver

from relayd.core.secret import Secret
from relayd.core.signature import verify


async def states(config: Path) -> dict[str, str]:
    listing = await asked("deliveries", config=config)
    return {each["event_id"]: each["state"] for each in listing["deliveries"]}


async def test_replay_after_an_outage(tmp_path: Path) -> None:
    switch = Switch(503)
    async with open_receiver(switch) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "retry": []}})
        async with running(config) as relayd:
            await emit(config, "evt_1", "evt_2", "evt_3")
            for event_id in ("evt_1", "evt_2", "evt_3"):
                await logged(relayd, "delivery_exhausted", event_id=event_id)
            dry = ("replay", "books", "--since", "2d", "--state", "exhausted", "--dry-run")
            assert await command(*dry, config=config) == "books: 3 to send again\n"
            refused = await command("replay", "books", config=config, status=2)
            assert "--yes" in refused
            assert set((await states(config)).values()) == {"exhausted"}

            switch.status = 200
            done = await asked("replay", "books", "--since", "2d", "--yes", config=config)
            assert (done["matched"], done["changed"]) == (3, 3)
            assert done["to_replay"] == {"books": 3}
            for event_id in ("evt_1", "evt_2", "evt_3"):
                await logged(relayd, "attempt_succeeded", event_id=event_id, attempt=2)
            assert await states(config) == dict.fromkeys(("evt_1", "evt_2", "evt_3"), "delivered")
            again = await command("replay", "books", "--yes", config=config)
            assert again.startswith("There is nothing to send again.\n")
    bodies = [request.body for request in receiver.requests]
    assert len(bodies) == 6
    assert len(set(bodies)) == 3
    assert relayd.events("deliveries_replayed")[0]["deliveries"] == 3


async def test_replay_and_cancel_by_id(tmp_path: Path) -> None:
    async with open_receiver(answer(500)) as receiver:
        config = write_config(
            tmp_path,
            {
                "books": {"url": receiver.url, "retry": ["1h"]},
                "shop": {"url": receiver.url, "retry": ["1h"]},
            },
        )
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "retry_scheduled", subscription="books")
            await logged(relayd, "retry_scheduled", subscription="shop")
            listing = await asked("deliveries", "--subscription", "books", config=config)
            [identifier] = [each["id"] for each in listing["deliveries"]]
            printed = await command("cancel", identifier, "--yes", config=config)
            assert printed == "books: 1 to cancel\n1 delivery cancelled.\n"
            # Of the event, only what can be replayed is.
            completed = await run_command("replay", "evt_1", "--yes", config=config)
            assert completed.returncode == 0
            assert completed.stdout.decode().startswith("books: 1 to send again\n1 delivery will")
            assert "to shop is retrying" in completed.stderr.decode()
            await logged(relayd, "attempt_failed", delivery_id=identifier, attempt=2)
            # An event with a subscription: that delivery alone.
            done = await asked("cancel", "evt_1", "shop", "--yes", config=config)
            assert (done["changed"], done["to_cancel"]) == (1, {"shop": 1})
            missing = await command("cancel", "evt_9", "--yes", config=config, status=1)
            assert "'evt_9'" in missing
            assert "Specify which" in await command("cancel", config=config, status=2)


async def test_cancelled_while_it_is_attempted(tmp_path: Path) -> None:
    switch = Switch(500)
    async with open_receiver(switch) as receiver:
        retry = {"retry": ["1s", "1h"]}
        config = write_config(tmp_path, {"books": {"url": receiver.url, **retry}})
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "attempt_failed", event_id="evt_1", attempt=1)
            switch.release = trio.Event()
            await until(lambda: receiver.acts_begun == 2)
            done = await asked("cancel", "evt_1", "--yes", config=config)
            assert (done["changed"], done["in_flight"]) == (1, 1)
            # Replayed at once, while that attempt still goes on: it has its whole schedule again,
            # and is due at once, but is not sent twice at a time.
            await command("replay", "evt_1", "--yes", config=config)
            assert receiver.acts_begun == 2
            switch.release.set()
            for number in (2, 3, 4):
                await logged(relayd, "attempt_failed", event_id="evt_1", attempt=number)
            # Attempt 2 scheduled nothing: the replay has a schedule of its own.
            await until(lambda: len(relayd.events("retry_scheduled")) == 3)
            assert await states(config) == {"evt_1": "retrying"}

            switch.status = 200
            switch.release = trio.Event()
            await command("cancel", "evt_1", "--yes", config=config)
            await command("replay", "evt_1", "--yes", config=config)
            await until(lambda: receiver.acts_begun == 5)
            await command("cancel", "evt_1", "--yes", config=config)
            assert await states(config) == {"evt_1": "cancelled"}
            switch.release.set()
            await logged(relayd, "attempt_succeeded", event_id="evt_1")
            assert await states(config) == {"evt_1": "delivered"}


async def test_what_was_cancelled_during_its_last_attempt_is_not_reported_as_exhausted(
    tmp_path: Path,
) -> None:
    switch = Switch(500)
    async with open_receiver(switch) as receiver, open_receiver() as own:
        config = write_config(
            tmp_path,
            {
                "books": {"url": receiver.url, "events": "order.*", "retry": [], "timeout": "60s"},
                "own": {"url": own.url, "events": "relayd.*"},
            },
        )
        async with running(config) as relayd:
            switch.release = trio.Event()
            await emit(config, "evt_1")
            await until(lambda: receiver.acts_begun == 1)
            await command("cancel", "evt_1", "--yes", config=config)
            switch.release.set()
            await logged(relayd, "attempt_failed", event_id="evt_1")
            await emit(config, "evt_2")
            await logged(relayd, "delivery_exhausted", event_id="evt_2")
            await until(lambda: own.requests)
            assert [each["event_id"] for each in relayd.events("delivery_exhausted")] == ["evt_2"]
            [request] = own.requests
            exhausted = json.loads(request.body)["data"]["object"]
            [line] = relayd.events("delivery_exhausted")
            assert (exhausted["count"], exhausted["ids"]) == (1, [line["delivery_id"]])
            tallies = [
                each["last_hour"] for each in (await asked("status", config=config))["endpoints"]
            ]
            assert sum(each["failed"] for each in tallies) == 2
            assert sum(each["exhausted"] for each in tallies) == 1


async def test_a_backfill_for_a_subscription_that_is_new(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        books = {"url": receiver.url, "events": "order.*"}
        config = write_config(tmp_path, {"books": books})
        async with running(config) as relayd:
            await emit(config, "evt_1", "evt_2")
            await emit(config, "evt_3", event_type="payment.failed")
            await emit(config, "evt_4", event_type="user.created")
            shop = {"url": receiver.url, "events": ["payment.*", "order.created"]}
            write_config(tmp_path, {"books": books, "shop": shop})
            await command("reload", config=config)
            nothing = await command("replay", "shop", "--yes", config=config)
            assert nothing == "There is nothing to send again.\n"
            backfill = ("replay", "--backfill", "shop", "--since", "1h", "--yes")
            done = await asked(*backfill, config=config)
            assert (done["matched"], done["changed"]) == (3, 3)
            assert done["to_make"] == {"shop": 3}
            for event_id in ("evt_1", "evt_2", "evt_3"):
                await logged(relayd, "attempt_succeeded", event_id=event_id, subscription="shop")
            assert (await asked(*backfill, config=config))["changed"] == 0
            one = ("replay", "--backfill", "shop", "evt_4", "--yes")
            assert (await asked(*one, config=config))["changed"] == 0
            write_config(tmp_path, {"books": books, "shop": {**shop, "active": False}})
            await command("reload", config=config)
            await emit(config, "evt_5")
            refused = await command(*backfill, config=config, status=1)
            assert "active: false" in refused


async def test_pause_and_resume(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config) as relayd:
            printed = await command("pause", "books", config=config)
            assert printed.startswith("books is paused")
            await emit(config, "evt_1")
            await logged(relayd, "event_accepted", event_id="evt_1")
            assert await states(config) == {"evt_1": "held"}
            assert "paused already" in await command("pause", "books", config=config)
            # A reload leaves the pause alone.
            await command("reload", config=config)
        assert receiver.requests == []
        async with running(config) as relayd:
            await trio.sleep(0.2)
            assert receiver.requests == []
            unknown = await command("resume", "boks", config=config, status=1)
            assert "did you mean books?" in unknown
            assert await command("resume", "books", config=config) == "books is resumed.\n"
            await logged(relayd, "attempt_succeeded", event_id="evt_1")
            assert relayd.events("subscription_resumed")
            document = await asked("resume", "books", config=config)
            assert document == {
                "subscriptions": [
                    {
                        "name": "books",
                        "changed": False,
                        "hold": None,
                        "released": 0,
                        "lifted": False,
                    }
                ]
            }


async def test_resume_after_a_410(tmp_path: Path) -> None:
    switch = Switch(410)
    async with open_receiver(switch) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "subscription_held", subscription="books")
            switch.status = 200
            await command("resume", "books", config=config)
            await logged(relayd, "attempt_succeeded", event_id="evt_1", attempt=2)


async def rejected_rows(spool: Path, *rows: tuple[str, str, str]) -> None:
    with closing(sqlite3.connect(spool)) as db, db:
        db.executemany("INSERT INTO relayd_spool (id, type, data) VALUES (?, ?, ?)", rows)


async def test_rejected_rows_are_mended_by_range_and_time(tmp_path: Path) -> None:
    spool = make_spool(tmp_path / "spool.db")
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config) as relayd:
            await rejected_rows(
                spool, *((f"evt_{n}", "Order Created", f'{{"n": {n}}}') for n in range(1, 7))
            )
            await until(lambda: len(relayd.events("input_rejected")) >= 1)
            for wrong in ("0", "5-3", "1-", "x", "-1", "1-99999999999999999999"):
                await command("rejected", "resubmit", "--", wrong, config=config, status=2)
            one = ("rejected", "resubmit", "1-2", "--id", "evt_9")
            assert "for one row" in await command(*one, config=config, status=2)
            mended = ("--type", "order.created", "--created", "1640995200")
            said = await command("rejected", "resubmit", "2-3", "5", *mended, config=config)
            assert said == "".join(f"{n}: accepted as evt_{n}.\n" for n in (2, 3, 5))
            # What is not in the list is passed over in a range.
            said = await command("rejected", "resubmit", "3-4", *mended, config=config)
            assert said == "4: accepted as evt_4.\n"
            none = await command("rejected", "resubmit", "2-5", *mended, config=config, status=1)
            assert "none of these numbers" in none
            assert "1 dropped" in await command("rejected", "drop", "6-99", "--yes", config=config)
            listing = await asked("rejected", "list", config=config)
            assert [each["number"] for each in listing["rejected"]] == [1]
            await until(lambda: len(receiver.requests) == 4)
    assert {json.loads(each.body)["created"] for each in receiver.requests} == {1_640_995_200}


async def test_a_time_in_milliseconds_is_mended(tmp_path: Path) -> None:
    queue = tmp_path / "queue.db"
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        make_spool(tmp_path / "spool.db")
        async with running(config):
            pass
        with closing(sqlite3.connect(queue, isolation_level=None)) as db:
            for seq, created in ((1, 1_640_995_200_123), (2, b"1640995200999"), (3, b"noon")):
                db.execute(
                    "INSERT INTO rejected (seq, source, rejected_at, code, reason, fingerprint, id,"
                    " type, data, created) VALUES (?, 'spool market', ?, 'invalid_created', 'ms',"
                    " ?, ?, ?, ?, ?)",
                    (
                        seq,
                        time.time(),
                        bytes([seq]) * 32,
                        f"evt_{seq}".encode(),
                        b"a.b",
                        b"{}",
                        created,
                    ),
                )
        async with running(config):
            said = await command(
                "rejected", "resubmit", "1-3", "--created", "ms", config=config, status=1
            )
            assert "1: accepted as evt_1.\n2: accepted as evt_2.\n" in said
            assert "3: " in said
            assert "(invalid_created)" in said
            await until(lambda: len(receiver.requests) == 2)
    assert {json.loads(each.body)["created"] for each in receiver.requests} == {1_640_995_200}


async def test_rejected_rows_are_mended(tmp_path: Path) -> None:
    spool = make_spool(tmp_path / "spool.db")
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config) as relayd:
            assert await command("rejected", "list", config=config) == "Nothing was rejected.\n"
            await rejected_rows(
                spool, ("evt_1", "Order Created", '{"a": 1}'), ("evt_2", "order.created", "[1]")
            )
            await until(lambda: len(relayd.events("input_rejected")) == 2)
            listing = await asked("rejected", "list", config=config)
            assert [each["number"] for each in listing["rejected"]] == [2, 1]
            assert listing["rejected"][1]["code"] == "invalid_type"
            shown = await command("rejected", "show", "1", config=config)
            assert "Order Created" in shown
            assert '{"a": 1}' in shown
            row = (await asked("rejected", "show", "2", config=config))["row"]
            assert (row["id"], row["data"]) == ("evt_2", "[1]")

            as_it_is = await command("rejected", "resubmit", "1", config=config, status=1)
            assert "(invalid_type)" in as_it_is
            mended = ("rejected", "resubmit", "1", "--type", "order.created")
            assert await command(*mended, config=config) == "1: accepted as evt_1.\n"
            await logged(relayd, "attempt_succeeded", event_id="evt_1")
            file = tmp_path / "mended.json"
            file.write_text('{"object": {"id": "order_1"}}')
            document = await asked("rejected", "resubmit", "2", "--file", str(file), config=config)
            assert document["resubmitted"][0]["id"] == "evt_2"
            await logged(relayd, "attempt_succeeded", event_id="evt_2")
            assert (await asked("rejected", "list", config=config))["rejected"] == []
            gone = await command("rejected", "resubmit", "1", config=config, status=1)
            assert "no rejected input 1" in gone
    assert [json.loads(each.body)["data"] for each in receiver.requests] == [
        {"a": 1},
        {"object": {"id": "order_1"}},
    ]


async def test_rejected_rows_are_dropped(tmp_path: Path) -> None:
    spool = make_spool(tmp_path / "spool.db")
    config = write_config(tmp_path)
    async with running(config) as relayd:
        await rejected_rows(spool, *((f"evt_{n}", "Wrong Type", "{}") for n in range(4)))
        await until(lambda: len(relayd.events("input_rejected")) == 4)
        assert "--yes" in await command("rejected", "drop", "1", config=config, status=2)
        assert await command("rejected", "drop", "1", "2", "-y", config=config) == "2 dropped.\n"
        assert await asked("rejected", "drop", "--all", "-y", config=config) == {"changed": 2}
        assert "no such" in await command("rejected", "drop", "1", "-y", config=config, status=1)


@pytest.mark.parametrize("daemon", [True, False], ids=["daemon", "no daemon"])
async def test_a_receiver_is_tried(tmp_path: Path, daemon: bool) -> None:
    switch = Switch()
    async with open_receiver(switch) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "events": "payment.*"}})

        async def both_ways() -> None:
            printed = await command("test", "books", config=config)
            assert printed.startswith("Sent payment.succeeded (evt_test_")
            assert "Accepted: 200" in printed
            assert "  | ok" in printed
            switch.status = 500
            refused = await command("test", "books", config=config, status=1)
            assert "answered 500" in refused
            typed = ("test", "books", "--type", "user.created", "--json")
            document = json.loads((await run_command(*typed, config=config)).stdout)
            assert document["event_type"] == "user.created"
            assert (document["succeeded"], document["status"]) == (False, 500)
            wrong = await command("test", "books", "--type", "X", config=config, status=1)
            assert "lower-case words" in wrong
            unknown = await command("test", "boks", config=config, status=1)
            assert "did you mean books?" in unknown

        if daemon:
            async with running(config):
                await both_ways()
                assert await asked("deliveries", config=config) == {
                    "deliveries": [],
                    "older_before": None,
                }
        else:
            await both_ways()
    for request in receiver.requests:
        signature = request.header("X-LocallyGrown-Signature") or ""
        assert verify(request.body, signature, Secret(SECRET))
        assert (request.header("X-LocallyGrown-Delivery") or "").startswith("dlv_test_")


async def test_a_test_that_succeeds_lets_what_waits_go(tmp_path: Path) -> None:
    switch = Switch(503)
    async with open_receiver(switch) as receiver:
        config = write_config(
            tmp_path,
            {"books": {"url": receiver.url, "events": "order.*", "retry": ["1h"]}},
        )
        async with running(config) as relayd:
            await emit(config, "evt_1", "evt_2", "evt_3")
            for event_id in ("evt_1", "evt_2", "evt_3"):
                await logged(relayd, "retry_scheduled", event_id=event_id)
            await command("test", "books", config=config, status=1)
            switch.status = 200
            await command("pause", "books", config=config)
            held = await command("test", "books", config=config)
            assert "books is held, with 3 deliveries pending: it is paused" in " ".join(
                held.split()
            )
            released = await asked("resume", "books", config=config)
            assert released["subscriptions"][0]["released"] == 3
            for event_id in ("evt_1", "evt_2", "evt_3"):
                await logged(relayd, "attempt_succeeded", event_id=event_id, attempt=2)
            status = await asked("status", config=config)
            assert [each["state"] for each in status["endpoints"]] == ["healthy"]
            assert "Nothing is pending for it." in await command("test", "books", config=config)
            switch.status = 503
            await emit(config, "evt_4")
            await logged(relayd, "retry_scheduled", event_id="evt_4")
            switch.status = 200
            tested = await command("test", "books", config=config)
            assert (
                "1 of its deliveries is pending: 1 retry released, attempted now, in addition to the"
                " schedule."
            ) in " ".join(tested.split())
            await logged(relayd, "attempt_succeeded", event_id="evt_4", attempt=2)
            [shown] = (await asked("show", "evt_4", config=config))["deliveries"]
            assert [each["extra"] for each in shown["history"]] == [None, "operator"]


async def test_a_changed_secret_releases_what_waits(tmp_path: Path) -> None:
    switch = Switch(401)
    async with open_receiver(switch) as receiver:
        books = {"url": receiver.url, "events": "order.*", "retry": ["1h"]}
        config = write_config(tmp_path, {"books": books})
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "retry_scheduled", event_id="evt_1")
            switch.status = 200
            await command("reload", config=config)
            write_config(
                tmp_path, {"books": {**books, "secret": "another-secret-of-tests-0123456"}}
            )
            await command("reload", config=config)
            await logged(relayd, "attempt_succeeded", event_id="evt_1", attempt=2)


async def test_a_secret_that_changes_with_a_restart_releases_what_waits(tmp_path: Path) -> None:
    # One of the environment changes in no other way.
    switch = Switch(401)
    async with open_receiver(switch) as receiver:
        books = {"url": receiver.url, "retry": ["1h"], "secret": {"env": "BOOKS_SECRET"}}
        config = write_config(tmp_path, {"books": books})
        first = {"BOOKS_SECRET": "a-secret-of-tests-0123456"}
        async with running(config, env=first) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "retry_scheduled", event_id="evt_1")
        switch.status = 200
        async with running(config, env=first) as relayd:
            await emit(config, "evt_2")
            await logged(relayd, "attempt_succeeded", event_id="evt_2")
        assert len(receiver.requests) == 2
        second = {"BOOKS_SECRET": "another-secret-of-tests-0123456"}
        async with running(config, env=second) as relayd:
            await logged(relayd, "attempt_succeeded", event_id="evt_1", attempt=2)


async def test_a_subscription_that_comes_back_with_another_secret_is_released(
    tmp_path: Path,
) -> None:
    switch = Switch(401)
    async with open_receiver(switch) as receiver:
        books = {"url": receiver.url, "retry": ["1h"]}
        config = write_config(tmp_path, {"books": books, "shop": books})
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "retry_scheduled", subscription="books")
            await logged(relayd, "retry_scheduled", subscription="shop")
            switch.status = 200
            write_config(tmp_path, {"shop": books})
            await command("reload", config=config)
            secret = {"secret": "another-secret-of-tests-0123456"}
            write_config(tmp_path, {"books": {**books, **secret}, "shop": books})
            await command("reload", config=config)
            await logged(relayd, "attempt_succeeded", subscription="books", attempt=2)
            assert [each["subscription"] for each in relayd.events("attempt_succeeded")] == [
                "books"
            ]


@pytest.mark.parametrize("way", ["secret", "resume"])
async def test_what_is_under_way_at_a_release_is_released_when_it_fails(
    tmp_path: Path, way: str
) -> None:
    switch = Switch(401)
    async with open_receiver(switch) as receiver:
        books = {"url": receiver.url, "events": "order.*", "retry": ["1h"], "timeout": "60s"}
        config = write_config(tmp_path, {"books": books})
        async with running(config) as relayd:
            switch.release = trio.Event()
            await emit(config, "evt_1")
            await until(lambda: receiver.acts_begun == 1)
            if way == "secret":
                write_config(
                    tmp_path, {"books": {**books, "secret": "another-secret-of-tests-0123456"}}
                )
                await command("reload", config=config)
            else:
                await command("resume", "books", config=config)
            switch.status = 200
            switch.release.set()
            await logged(relayd, "attempt_failed", event_id="evt_1", attempt=1)
            await logged(relayd, "attempt_succeeded", event_id="evt_1", attempt=2)


@pytest.mark.parametrize(
    "arguments",
    [
        ("replay", "books", "--yes"),
        ("retry", "books"),
        ("cancel", "books", "--yes"),
        ("pause", "books"),
        ("resume", "books"),
        ("rejected", "resubmit", "1"),
        ("rejected", "drop", "1", "--yes"),
    ],
    ids=" ".join,
)
async def test_what_needs_the_daemon_says_so(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    config = write_config(tmp_path)
    printed = await command(*arguments, config=config, status=1)
    assert "this needs the running daemon" in printed


async def test_the_control_socket_is_the_owners_alone(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    async with running(config):
        assert (tmp_path / "queue.db.control").stat().st_mode & 0o777 == 0o600


async def test_a_request_of_nonsense_ends_nothing(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    async with running(config) as relayd:
        stream = await trio.open_unix_socket(tmp_path / "queue.db.control")
        requests: list[object] = [
            {"command": name, **arguments}
            for name in (
                "replay",
                "retry",
                "cancel",
                "backfill",
                "pause",
                "resume",
                "resubmit",
                "drop",
                "test",
            )
            for arguments in (
                {},
                {"deliveries": "x", "subscription": 1, "rejected": {}},
                {"deliveries": [2**70], "subscription": "\ud800", "rejected": [True]},
                {"deliveries": list(range(1, 600)), "rejected": -1, "changes": []},
            )
        ]
        requests += [1, None, {"command": ["x"]}]
        await stream.send_all(b"".join(json.dumps(each).encode() + b"\n" for each in requests))
        received = b""
        with trio.fail_after(20):
            while received.count(b"\n") < len(requests):
                more = await stream.receive_some()
                assert more, relayd.errors
                received += more
        assert all(not json.loads(line)["ok"] for line in received.splitlines())
        await stream.aclose()
        assert relayd.process.returncode is None


async def test_a_replay_that_is_cut_off_can_be_given_again(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1:1/", "retry": ["1h"]}})
    async with running(config):
        await command("pause", "books", config=config)
    total = 20_000
    with closing(sqlite3.connect(tmp_path / "queue.db")) as db, db:
        db.executemany(
            "INSERT INTO events VALUES (?1, 'market_123', ?2, 'order.created', 1, 1.0, 'socket', x'00', x'7b7d', ?1, NULL)",
            ((number, f"evt_{number}") for number in range(1, total + 1)),
        )
        db.executemany(
            "INSERT INTO deliveries VALUES (?, ?, 1, 'exhausted', 6, 5, 1.0, NULL, ?, 0, 0, NULL, NULL)",
            # Ended just now, so that nothing is pruned meanwhile.
            ((number, number, time.time()) for number in range(1, total + 1)),
        )

    def counts() -> dict[str, int]:
        with closing(sqlite3.connect(tmp_path / "queue.db")) as db:
            assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            return dict(db.execute("SELECT state, count(*) FROM deliveries GROUP BY state"))

    replay = ("replay", "books", "--yes")
    async with started(config) as relayd, trio.open_nursery() as nursery:
        await logged(relayd, "started")
        printed: list[str] = []

        async def cut_off() -> None:
            printed.append(await command(*replay, config=config, status=1))

        nursery.start_soon(cut_off)
        await logged(relayd, "deliveries_replayed")
        relayd.signal(signal.SIGKILL)
        await relayd.wait()
    assert "run the command again for the rest" in printed[0]
    found = counts()
    assert sum(found.values()) == total
    assert 0 < found["exhausted"] < total
    async with running(config):
        done = await asked(*replay, config=config)
        assert done["changed"] == found["exhausted"]
    assert counts() == {"pending": total}


async def test_retention_is_taken_up_by_a_reload(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await logged(relayd, "attempt_succeeded", event_id="evt_1")
        with closing(sqlite3.connect(tmp_path / "queue.db")) as db, db:
            db.execute("UPDATE events SET accepted_at = accepted_at - 3 * 86400")
            db.execute("UPDATE deliveries SET ended_at = ended_at - 2 * 86400")
        async with running(config) as relayd:
            await emit(config, "evt_2")
            await logged(relayd, "attempt_succeeded", event_id="evt_2")
            short = {"path": "queue.db", "retention": "1d"}
            write_config(tmp_path, {"books": {"url": receiver.url}}, queue=short)
            await command("reload", config=config)
            await logged(relayd, "retention_removed", events=1)
            assert await states(config) == {"evt_2": "delivered"}
            # Its id is still known.
            again = await asked("emit", "order.created", "--sample", "--id", "evt_1", config=config)
            assert again["events"] == [{"id": "evt_1", "duplicate": True}]
            shown = await command("show", "evt_1", config=config)
            assert "after the retention" in shown
    assert len(receiver.requests) == 2
