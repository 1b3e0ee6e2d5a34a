"""Several markets on one machine: ids, the markets that sources bind, and what commands show."""

import json
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import trio
from faults.producing import until
from processes import command, make_spool, running, write_config
from receivers import open_receiver


def insert(spool: Path, event_id: str, data: str, market: str | None = None) -> None:
    with closing(sqlite3.connect(spool, timeout=10)) as db, db:
        db.execute(
            "INSERT INTO relayd_spool (id, type, data, market_id) VALUES (?, 'order.created', ?, ?)",
            (event_id, data, market),
        )


def config(folder: Path, url: str, **keys: object) -> Path:
    for name in ("a", "b"):
        if not (folder / f"{name}.db").exists():
            make_spool(folder / f"{name}.db")
    spools = {
        "a": {"path": "a.db", "market_id": "market_a"},
        "b": {"path": "b.db", "market_id": "market_b", **keys},
    }
    return write_config(folder, {"books": {"url": url}}, spools=spools)


async def test_the_same_id_from_two_markets_is_two_events(tmp_path: Path) -> None:
    async with open_receiver() as receiver:
        path = config(tmp_path, receiver.url)
        async with running(path) as relayd:
            for name in ("a", "b", "a"):
                insert(tmp_path / f"{name}.db", "evt_1", f'{{"object":{{"id":"{name}"}}}}')
                with trio.fail_after(10):
                    await relayd.logged("event_accepted", source=f"spool {name}")
            with trio.fail_after(10):
                await relayd.logged("event_duplicate", event_id="evt_1")
            await until(lambda: len(receiver.requests) == 2)
            markets = {json.loads(each.body)["market_id"] for each in receiver.requests}
            assert markets == {"market_a", "market_b"}

            for words in (["show"], ["explain"], ["replay", "--yes"], ["cancel", "--dry-run"]):
                both = await command(*words, "evt_1", config=path, status=1)
                assert "market market_a" in both
                assert "market market_b" in both
                assert "--market" in both
            for market, source in (("market_a", "a"), ("market_b", "b")):
                shown = await command("show", "evt_1", "--market", market, "--json", config=path)
                assert json.loads(shown)["market_id"] == market
                assert json.loads(json.loads(shown)["body"])["data"]["object"]["id"] == source
                said = await command("explain", "evt_1", "--market", market, config=path)
                assert f"spool {source}" in said
            none = await command("explain", "evt_1", "--market", "market_c", config=path, status=1)
            assert "no event 'evt_1' of market 'market_c'" in none
            await command("replay", "--market", "market_a", "books", config=path, status=2)
            # An id that one market has needs none.
            insert(tmp_path / "a.db", "evt_2", "{}")
            await until(lambda: len(receiver.requests) == 3)
            assert "market_a" in await command("show", "evt_2", config=path)
            listed = json.loads(await command("deliveries", "--json", config=path))["deliveries"]
            assert [each["market_id"] for each in listed] == ["market_a", "market_b", "market_a"]


async def test_a_row_that_names_another_market_is_rejected_until_that_is_allowed(
    tmp_path: Path,
) -> None:
    async with open_receiver() as receiver:
        path = config(tmp_path, receiver.url)
        async with running(path) as relayd:
            insert(tmp_path / "b.db", "evt_1", "{}", "market_a")
            insert(tmp_path / "b.db", "evt_2", "{}", "market_b")
            with trio.fail_after(10):
                line = await relayd.logged("input_rejected")
            assert line["code"] == "wrong_market"
            assert "markets:" in line["detail"]
            await until(lambda: len(receiver.requests) == 1)
            refused = await command("rejected", "resubmit", "1", config=path, status=1)
            assert "wrong_market" in refused
            config(tmp_path, receiver.url, markets=["market_a"])
            relayd.signal(signal.SIGHUP)
            with trio.fail_after(10):
                assert (await relayd.logged("configuration_reloaded"))["changes"] == [
                    "spool b: markets changed"
                ]
            await command("rejected", "resubmit", "1", config=path)
            await until(lambda: len(receiver.requests) == 2)
            found = {json.loads(each.body)["market_id"] for each in receiver.requests}
            assert found == {"market_a", "market_b"}


async def test_half_an_emoji_arrives_as_javascript_prints_it_and_no_command_stumbles(
    tmp_path: Path,
) -> None:
    cut = '{"object":{"id":"order_1","text":"caf\u00e9 \\uD83E","\\udd14":"x","n":1e400}}'
    expected = '"data":{"object":{"id":"order_1","text":"café \\ud83e","\\udd14":"x","n":1e400}}'
    async with open_receiver() as receiver:
        path = config(tmp_path, receiver.url)
        async with running(path) as relayd:
            insert(tmp_path / "a.db", "evt_1", cut)
            emitted = ("emit", "order.created", "--data", cut, "--id", "evt_2")
            await command(*emitted, config=path)
            with trio.fail_after(10):
                line = await relayd.logged("event_not_portable", event_id="evt_1")
            assert line["fields"] == ["data.object.text", "data.object.'\\udd14'…", "data.object.n"]
            await until(lambda: len(receiver.requests) == 2)
            for each in receiver.requests:
                assert expected in each.body.decode()
            for event_id in ("evt_1", "evt_2"):
                for words in (["show"], ["show", "--pretty"], ["show", "--json"], ["explain"]):
                    for env in ({"PYTHONUTF8": "0", "LC_ALL": "C"}, {"LC_ALL": "C.UTF-8"}):
                        shown = await command(*words, event_id, config=path, env=env)
                        assert "data.object.text" in shown, "the warning is repeated"
                pretty = await command("show", "--pretty", event_id, config=path)
                assert '"text": "café \\ud83e"' in pretty
                assert '"n": 1e400' in pretty
            matched = await command("match", "order.created", "--data", cut, config=path)
            assert "books" in matched


async def test_a_row_whose_market_nobody_knows_any_more_is_not_given_another(
    tmp_path: Path,
) -> None:
    async with open_receiver() as receiver:
        path = config(tmp_path, receiver.url)
        async with running(path) as relayd:
            insert(tmp_path / "b.db", "evt_1", "[]")
            insert(tmp_path / "b.db", "evt_2", "[]", "market_b")
            await until(lambda: len(relayd.events("input_rejected")) == 2)
            spools = {"a": {"path": "a.db", "market_id": "market_a"}}
            write_config(tmp_path, {"books": {"url": receiver.url}}, spools=spools)
            relayd.signal(signal.SIGHUP)
            with trio.fail_after(10):
                await relayd.logged("configuration_reloaded")
            mended = ("rejected", "resubmit", "1", "--data", "{}")
            refused = await command(*mended, config=path, status=1)
            assert "unknown_market" in refused
            await command("rejected", "resubmit", "2", "--data", "{}", config=path)
            await until(lambda: len(receiver.requests) == 1)
            assert json.loads(receiver.requests[0].body)["market_id"] == "market_b"


async def test_rows_that_were_accepted_are_not_taken_again_for_another_market(
    tmp_path: Path,
) -> None:
    async with open_receiver() as receiver:
        path, spool = config(tmp_path, receiver.url), tmp_path / "b.db"
        with closing(sqlite3.connect(spool, isolation_level=None)) as market:
            async with running(path) as relayd:
                market.execute("BEGIN IMMEDIATE")
                for number in range(3):
                    market.execute(
                        "INSERT INTO relayd_spool (id, type, data) VALUES (?, 'order.created', '{}')",
                        (f"evt_{number}",),
                    )
                market.execute("COMMIT")
                market.execute("BEGIN IMMEDIATE")  # nobody else may delete now
                await until(lambda: len(receiver.requests) == 3)
                config(tmp_path, receiver.url, market_id="market_c")
                relayd.signal(signal.SIGHUP)
                with trio.fail_after(10):
                    await relayd.logged("configuration_reloaded")
                await until(lambda: len(relayd.events("event_duplicate")) >= 3)
            # As long as the lock lasts, over a restart too.
            async with running(path) as relayd:
                await until(lambda: len(relayd.events("event_duplicate")) >= 3)
                left = "SELECT count(*) FROM relayd_spool"
                assert market.execute(left).fetchone() == (3,)
                market.execute("COMMIT")
                await until(lambda: market.execute(left).fetchone() == (0,))
                # What comes from now on is the other market's, also under an id of before.
                insert(spool, "evt_0", '{"n":1}')
                insert(spool, "evt_new", "{}")
                await until(lambda: len(receiver.requests) == 5)
        found = sorted(
            (event["market_id"], event["id"])
            for event in (json.loads(each.body) for each in receiver.requests)
        )
        assert found == [
            ("market_b", "evt_0"),
            ("market_b", "evt_1"),
            ("market_b", "evt_2"),
            ("market_c", "evt_0"),
            ("market_c", "evt_new"),
        ]


async def test_rows_that_name_their_market_are_known_after_their_spool_is_given_another(
    tmp_path: Path,
) -> None:
    named = "INSERT INTO relayd_spool (id, type, data, market_id) VALUES (?, 'order.created', ?, ?)"
    async with open_receiver() as receiver:
        path, spool = config(tmp_path, receiver.url, markets=["market_x"]), tmp_path / "b.db"
        with closing(sqlite3.connect(spool, isolation_level=None)) as market:
            async with running(path) as relayd:
                # An id that the other market has, too, with other data.
                await command(
                    *("emit", "order.created", "--data", '{"n":1}', "--id", "evt_2"), config=path
                )
                market.execute("BEGIN IMMEDIATE")
                market.execute(named, ("evt_0", "{}", "market_b"))
                market.execute(named, ("evt_1", '{"x":1}', "market_x"))
                market.execute(named, ("evt_2", '{"n":2}', None))
                market.execute("COMMIT")
                market.execute("BEGIN IMMEDIATE")  # nobody else may delete now
                await until(lambda: len(receiver.requests) == 4)
                config(tmp_path, receiver.url, market_id="market_123")
                relayd.signal(signal.SIGHUP)
                with trio.fail_after(10):
                    await relayd.logged("configuration_reloaded")
                await until(lambda: len(relayd.events("event_duplicate")) >= 1)
                # What names a market that is not the spool's, and was never accepted, is rejected.
                market.execute(named, ("evt_3", "{}", "market_b"))
                market.execute("COMMIT")
                left = "SELECT count(*) FROM relayd_spool"
                await until(lambda: market.execute(left).fetchone() == (0,))
                with trio.fail_after(10):
                    await relayd.logged("input_rejected")
                assert [line["row"] for line in relayd.events("input_rejected")] == [4]
            listed = json.loads(await command("rejected", "list", "--json", config=path))[
                "rejected"
            ]
            assert [each["code"] for each in listed] == ["wrong_market"]
            assert len(receiver.requests) == 4
