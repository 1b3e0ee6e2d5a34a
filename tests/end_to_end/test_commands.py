"""The commands and the daemon as an operator uses them: real processes, files and receivers."""

import json
import os
import signal
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import trio
from processes import (
    SECRET,
    RelaydProcess,
    command,
    make_spool,
    run_command,
    running,
    started,
    write_config,
)
from receivers import Receiver, answer, never, open_receiver

from relayd.core.secret import Secret
from relayd.core.signature import verify
from relayd.permissions import user_name


async def asked(*arguments: str, config: Path) -> Any:
    return json.loads(await command(*arguments, "--json", config=config))


async def delivered(relayd: RelaydProcess, event_id: str) -> dict[str, Any]:
    with trio.fail_after(20):
        return await relayd.logged("attempt_succeeded", event_id=event_id)


async def test_an_event_from_the_socket_and_one_from_the_spool(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config) as relayd:
            through_socket = await asked("emit", "order.created", "--sample", config=config)
            assert through_socket["via"] == "socket"
            through_spool = await asked(
                "emit", "payment.failed", "--sample", "--via", "spool", config=config
            )
            assert through_spool["via"] == "spool market"
            ids = [document["events"][0]["id"] for document in (through_socket, through_spool)]
            for event_id in ids:
                await delivered(relayd, event_id)
            bodies = {json.loads(request.body)["id"]: request for request in receiver.requests}
            assert set(bodies) == set(ids)
            for request in bodies.values():
                signature = request.header("X-LocallyGrown-Signature") or ""
                assert verify(request.body, signature, Secret(SECRET))

            listing = await asked("deliveries", config=config)
            assert [each["event_id"] for each in listing["deliveries"]] == ids[::-1]
            assert {each["state"] for each in listing["deliveries"]} == {"delivered"}
            shown = await asked("show", ids[0], config=config)
            assert shown["source"] == "socket"
            assert shown["body"].encode() == bodies[ids[0]].body
            [delivery] = shown["deliveries"]
            assert delivery["id"] == bodies[ids[0]].header("X-LocallyGrown-Delivery")
            [attempt] = delivery["history"]
            assert (attempt["number"], attempt["status"], attempt["answer"]) == (1, 200, "ok")
    assert relayd.events("stopped")


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
async def test_an_event_emitted_into_a_spool_in_utf_16(tmp_path: Path, encoding: str) -> None:
    with closing(sqlite3.connect(tmp_path / "spool.db")) as db:
        db.execute(f"PRAGMA encoding = '{encoding}'")
        db.execute(await command("spool", "sql"))
    data = '{"object":{"id":"ördér_🍅"}}'
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}}, socket=None)
        async with running(config) as relayd:
            emit = ("emit", "order.created", "--id", "evt_1", "--data", data)
            assert (await asked(*emit, config=config))["via"] == "spool market"
            await delivered(relayd, "evt_1")
            [request] = receiver.requests
            assert json.loads(request.body)["data"] == json.loads(data)
            assert data.encode() in request.body
            found = await asked("spool", "status", config=config)
            assert found["spools"][0]["problem"] is None


async def test_what_people_read(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1/hook", "retry": ["1h"]}})
    refuse = answer(500, b"no\x1b[2J <b>")
    async with open_receiver(refuse) as receiver:
        write_config(tmp_path, {"books": {"url": receiver.url, "retry": ["1h"]}})
        async with running(config) as relayd:
            await command("emit", "order.created", "--id", "evt_1", "--sample", config=config)
            with trio.fail_after(20):
                await relayd.logged("retry_scheduled", event_id="evt_1")
    # The daemon is down: the queue can be read all the same.
    listing = await command("deliveries", "--state", "retrying", config=config)
    header, line, ids = listing.splitlines()
    assert " ".join(header.split()) == "TIME UTC TYPE SUBSCRIPTION STATE TRY NEXT OR LAST"
    assert line.split()[1:5] == ["order.created", "books", "retrying", "1"]
    assert line.endswith("(500)")
    assert "evt_1  dlv_" in ids
    assert max(map(len, listing.splitlines())) <= 80

    shown = await command("show", ids.split()[1], "--pretty", config=config)
    assert '  "id": "evt_1"' in shown
    assert "books: retrying, the next attempt at " in shown
    assert "500  status: answered 500" in shown
    assert r"no\x1b[2J <b>" in shown
    assert "\x1b" not in shown


async def test_filters_and_pages(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        config = write_config(
            tmp_path,
            {
                "books": {"url": receiver.url, "events": "order.*"},
                "shop": {"url": receiver.url, "events": "*"},
            },
        )
        async with running(config) as relayd:
            for number in range(3):
                event = ("order.created", "--sample", "--id", f"evt_{number}")
                await command("emit", *event, config=config)
                await delivered(relayd, f"evt_{number}")
            await command("emit", "user.created", "--sample", "--id", "evt_u", config=config)
    listing = await asked("deliveries", "--subscription", "books", "--limit", "2", config=config)
    assert [each["event_id"] for each in listing["deliveries"]] == ["evt_2", "evt_1"]
    older = ("--subscription", "books", "--before", listing["older_before"])
    listing = await asked("deliveries", *older, config=config)
    assert [each["event_id"] for each in listing["deliveries"]] == ["evt_0"]
    assert listing["older_before"] is None
    listing = await asked("deliveries", "--type", "user.*", "--since", "1h", config=config)
    assert [each["event_id"] for each in listing["deliveries"]] == ["evt_u"]
    assert (await asked("deliveries", "--until", "1h", config=config))["deliveries"] == []

    wrong = await command("deliveries", "--subscription", "boks", config=config, status=1)
    assert "did you mean books?" in wrong
    assert "not a pattern" in await command("deliveries", "--type", "a b", config=config, status=2)
    assert "evt_9" in await command("show", "evt_9", config=config, status=1)


async def test_reading_needs_no_more_than_the_queues_place(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    assert "there is no queue yet" in await command("deliveries", config=config, status=1)
    async with running(config):
        pass
    secret: dict[str, object] = {"file": str(tmp_path / "unreadable")}
    write_config(tmp_path, {"books": {"url": "http://127.0.0.1/", "secret": secret}})
    assert await command("deliveries", config=config) == "No deliveries.\n"
    write_config(tmp_path, queue={"path": 7})
    assert "queue.path" in await command("deliveries", config=config, status=78)


async def test_a_reload_that_is_good(tmp_path: Path) -> None:
    async with open_receiver() as old, open_receiver() as new:
        config = write_config(tmp_path, {"books": {"url": old.url}})
        async with running(config) as relayd:
            assert await command("reload", config=config) == "Nothing changed.\n"
            write_config(tmp_path, {"books": {"url": new.url}, "shop": {"url": new.url}})
            printed = await command("reload", config=config)
            assert "subscription books: url changed" in printed
            assert "shop" in printed
            await command("emit", "order.created", "--sample", "--id", "evt_1", config=config)
            with trio.fail_after(20):
                for name in ("books", "shop"):
                    await relayd.logged("attempt_succeeded", subscription=name)
            assert (len(old.requests), len(new.requests)) == (0, 2)
            document = await asked("reload", config=config)
            assert (document["ok"], document["changes"]) == (True, [])


async def test_a_reload_that_is_refused(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config) as relayd:
            write_config(tmp_path, {"books": {"url": receiver.url, "timeout": "soon"}}, bad=1)
            printed = await command("reload", config=config, status=78)
            assert "books.timeout" in printed
            assert "bad" in printed
            shown = await command("reload", "--json", config=config, status=78)
            document = json.loads(shown.splitlines()[0])  # the text follows on standard error
            assert document["ok"] is False
            assert len(document["problems"]) == 2
            # The old configuration goes on.
            await command("emit", "order.created", "--sample", "--id", "evt_1", config=config)
            await delivered(relayd, "evt_1")
            config.write_text("queue: {path: queue.db")
            relayd.signal(signal.SIGHUP)
            with trio.fail_after(20):
                await relayd.logged("reload_refused", after=len(relayd.lines))


async def test_reload_without_a_daemon(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    assert "nothing is listening" in await command("reload", config=config, status=1)


async def test_a_second_daemon_names_the_first(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    async with running(config) as first:
        printed = await command("run", config=config, status=1)
        assert f"process {first.pid}" in printed
        assert "Traceback" not in printed
        # The first one is none the worse for it.
        assert await command("reload", config=config) == "Nothing changed.\n"


async def test_a_wrong_configuration_ends_with_78(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"books": {"url": "ftp://127.0.0.1/"}}, quue={"path": "x"})
    completed = await run_command("run", config=config)
    assert completed.returncode == 78
    assert completed.stdout == b""
    problems = completed.stderr.decode().splitlines()
    assert len(problems) == 2
    assert all(problem.startswith(f"{config}:") for problem in problems)
    missing = await run_command("run", config=tmp_path / "nowhere.yaml")
    assert missing.returncode == 78


@pytest.mark.parametrize(
    ("make", "words"),
    [
        ("foreign", "another program"),
        ("newer", "newer relayd"),
        ("no_directory", "there is no directory"),
        ("no_database", "not a database"),
        ("file_at_socket", "there is a file that is not a socket"),
    ],
)
async def test_a_start_that_fails_says_why_in_one_line(
    tmp_path: Path, make: str, words: str
) -> None:
    config = write_config(tmp_path)
    queue = tmp_path / "queue.db"
    if make == "foreign":
        with closing(sqlite3.connect(queue)) as db:
            db.execute("CREATE TABLE orders (id)")
    elif make == "newer":
        async with running(config):
            pass
        with closing(sqlite3.connect(queue)) as db:
            db.execute("PRAGMA user_version = 999")
    elif make == "no_directory":
        write_config(tmp_path, queue={"path": "nowhere/queue.db"})
    elif make == "no_database":
        queue.write_text("this is not a database at all" * 99)
    elif make == "file_at_socket":
        (tmp_path / "relayd.sock").touch()
    completed = await run_command("run", config=config)
    assert completed.returncode == 1
    [line] = completed.stderr.decode().splitlines()
    assert words in line
    logged = [json.loads(each) for each in completed.stdout.splitlines()]
    assert [each["detail"] for each in logged if each["event"] == "daemon_failed"] == [
        line.removeprefix("relayd: ")
    ]


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
async def test_a_directory_that_may_not_be_written_names_path_and_user(tmp_path: Path) -> None:
    config = write_config(tmp_path)
    tmp_path.chmod(0o500)
    printed = await command("run", config=config, status=1)
    assert f"cannot write {tmp_path}" in printed
    assert f"as user {user_name()}" in printed


async def test_sigterm_lets_the_attempt_in_flight_finish(tmp_path: Path) -> None:
    release = trio.Event()

    async def slow(conversation: Any) -> None:
        await conversation.read_request()
        begun.set()
        await release.wait()
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    begun = trio.Event()
    async with open_receiver(slow) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with started(config) as relayd:
            with trio.fail_after(20):
                await relayd.logged("started")
                await command("emit", "order.created", "--sample", "--id", "evt_1", config=config)
                await begun.wait()
                relayd.signal(signal.SIGTERM)
                await relayd.logged("stopping")
            refused = await command(
                "emit", "order.created", "--sample", "--via", "socket", config=config, status=1
            )
            assert "nothing is listening" in refused
            release.set()
            assert await relayd.wait() == 0
            assert relayd.events("attempt_succeeded")
    [delivery] = (await asked("deliveries", config=config))["deliveries"]
    assert delivery["state"] == "delivered"


async def test_a_second_signal_ends_it_at_once_and_burns_no_attempt(tmp_path: Path) -> None:
    async with open_receiver(never()) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "timeout": "60s"}})
        async with started(config) as relayd:
            with trio.fail_after(20):
                await relayd.logged("started")
                await command("emit", "order.created", "--sample", "--id", "evt_1", config=config)
                await first_request(receiver)
                relayd.signal(signal.SIGINT)
                await relayd.logged("stopping")
                relayd.signal(signal.SIGINT)
                assert await relayd.wait(5) == 0
    [delivery] = (await asked("deliveries", config=config))["deliveries"]
    assert (delivery["state"], delivery["attempts"]) == ("pending", 0)


async def first_request(receiver: Receiver) -> None:
    while not receiver.requests:
        await trio.sleep(0.01)


async def test_emit_without_any_way_says_what_to_do(tmp_path: Path) -> None:
    config = write_config(tmp_path, spools=None)
    printed = await command("emit", "order.created", "--sample", config=config, status=1)
    assert "is `relayd run` running" in printed
    printed = await command(
        "emit", "order.created", "--sample", "--via", "spool", config=config, status=1
    )
    assert "add one under `spools:`" in printed


async def test_events_are_found_by_their_objects_id_and_are_numbered(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        make_spool(tmp_path / "spool.db")
        config = write_config(
            tmp_path,
            {"books": {"url": receiver.url, "events": "order.*"}},
            spools={"market": {"path": "spool.db"}},
        )
        async with running(config) as relayd:
            about = '{"id":"order_456"}'
            first = (await asked("emit", "order.created", "--object", about, config=config))[
                "events"
            ][0]["id"]
            await delivered(relayd, first)
            with closing(sqlite3.connect(tmp_path / "spool.db", isolation_level=None)) as spool:
                spool.execute(
                    "INSERT INTO relayd_spool (id, type, data)"
                    " VALUES ('evt_spool', 'order.completed', '{\"object\":{\"id\":\"order_456\"}}'),"
                    " ('evt_user', 'user.created', '{\"object\":{\"id\":77}}')"
                )
            await delivered(relayd, "evt_spool")
            await command("replay", first, "--yes", config=config)  # it was delivered
            await command("test", "books", config=config)
            found = await asked("events", "--object", "order_456", config=config)
            assert [each["id"] for each in found["events"]] == ["evt_spool", first]
            unmatched = await asked("events", "--unmatched", config=config)
            assert [each["id"] for each in unmatched["events"]] == ["evt_user"]
            about_it = await asked("explain", "order_456", config=config)
            assert about_it["id"] == "evt_spool"
            assert [each["id"] for each in about_it["events_about_it"]] == ["evt_spool", first]
            assert (await asked("explain", "77", config=config))["id"] == "evt_user"
            words = await command("explain", "order_456", config=config)
            assert f"relayd explain {first}" in words
            assert max(map(len, words.splitlines())) <= 80
            listed = await asked("deliveries", "--object", "order_456", config=config)
            assert [each["event_id"] for each in listed["deliveries"]] == ["evt_spool", first]
            none = await command("explain", "order_9", config=config, status=1)
            assert "none about an object with this id" in none
            of_type = await run_command("events", "order.created", config=config)
            assert b"relayd types order.created" in of_type.stderr
            assert first.encode() in of_type.stdout
            assert "relayd explain order_456" in await command(
                "events", "order_456", config=config, status=2
            )
        numbers = [each.header("X-LocallyGrown-Sequence") for each in receiver.requests]
        expected = [str(each["sequence"]) for each in reversed(found["events"])]
        assert numbers == [*expected, None], "a sample has none"
