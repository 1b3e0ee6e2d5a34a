"""A subscription gets another name: a reload says what it leaves behind, `rename` hands it over."""

import json
from functools import partial
from pathlib import Path

import trio
from faults.producing import until
from operating import Switch, asked, emit, logged
from processes import command, run_command, running, write_config
from receivers import answer, open_receiver


def renamed(config: Path, old: str, new: str) -> None:
    text = config.read_text()
    assert f"  {old}:\n" in text
    config.write_text(text.replace(f"  {old}:\n", f"  {new}:\n"))


async def waiting(config: Path) -> dict[str, int]:
    return {
        each["name"]: each["waiting"]
        for endpoint in (await asked("status", config=config))["endpoints"]
        for each in endpoint["subscriptions"]
    }


async def test_a_backlog_goes_over_to_the_new_name(tmp_path: Path) -> None:
    switch = Switch(503)
    async with open_receiver(switch) as receiver:
        config = write_config(
            tmp_path, {"books": {"url": receiver.url, "retry": ["1h"]}}, spools=None
        )
        async with running(config) as relayd:
            await emit(config, "evt_1", "evt_2", "evt_3")
            await until(lambda: len(relayd.events("retry_scheduled")) == 3)
            refused = await run_command("rename", "books", "shop", "--config", str(config))
            assert refused.returncode == 1
            assert b"books is still in" in refused.stderr
            renamed(config, "books", "shop")
            text = " ".join((await command("check", "--diff", config=config)).split())
            assert "books: removed; its backlog of 3 will be held; `relayd rename books" in text
            assert await command("reload", config=config) == (
                "subscription shop: added\n"
                "subscription books: removed; its backlog of 3 is held;"
                " `relayd rename books shop` hands it over to another name\n"
            )
            await emit(config, "evt_4")
            await until(lambda: len(relayd.events("retry_scheduled")) == 4)
            assert await waiting(config) == {"books": 3, "shop": 1}
            done = await asked("rename", "books", "shop", config=config)
            assert done == {
                "changes": [], "moved": 3, "waiting": 3, "released": 0, "kept": 0, "in_flight": 0,
                "hold": None,
            }  # fmt: skip
            assert await waiting(config) == {"shop": 4}
            again = await command("rename", "books", "shop", config=config)
            assert again == "books had no deliveries to hand over.\n"
            listed = await asked("deliveries", "--subscription", "shop", config=config)
            assert [each["attempts"] for each in listed["deliveries"]] == [1, 1, 1, 1]
            await logged(
                relayd, "subscription_renamed", old="books", subscription="shop", deliveries=3
            )
            # They go out under the new name.
            switch.status = 200
            await command("test", "shop", config=config)
            await until(lambda: len(relayd.events("attempt_succeeded")) == 4)
            assert {each["subscription"] for each in relayd.events("attempt_succeeded")} == {"shop"}
        ids = [request.header("X-LocallyGrown-Delivery") for request in receiver.requests]
        assert len({each for each in ids if each and "test" not in each}) == 4


async def test_what_a_new_url_releases_is_counted(tmp_path: Path) -> None:
    async with open_receiver(answer(503)) as old, open_receiver(answer(200)) as new:
        books = {"url": old.url, "retry": ["1h"]}
        config = write_config(tmp_path, {"books": books}, spools=None)
        async with running(config) as relayd:
            await emit(config, "evt_1", "evt_2", "evt_3")
            await until(lambda: len(relayd.events("retry_scheduled")) == 3)
            write_config(tmp_path, {"books": books | {"secret": "another-secret-1"}}, spools=None)
            assert (await command("reload", config=config)).startswith(
                "subscription books: secret changed; 3 retries released: attempted now"
            )
            await until(lambda: len(relayd.events("attempt_failed")) == 6)
            line = relayd.events("configuration_reloaded")[-1]
            assert (line["released"], line["no_longer_held"]) == ({"books": 3}, {})
            # Handed over to a name with another URL, they are released too.
            write_config(tmp_path, {"shop": books | {"url": new.url}}, spools=None)
            done = await asked("reload", config=config)
            assert (done["released"], done["no_longer_held"]) == ({}, {})
            printed = await command("rename", "books", "shop", config=config)
            assert "3 retries released: attempted now, beside the schedule." in printed
            [line] = relayd.events("subscription_renamed")
            assert (line["deliveries"], line["waiting"], line["released"]) == (3, 3, 3)
            await until(lambda: len(relayd.events("attempt_succeeded")) == 3)
            # Without a change nothing is released.
            done = await asked("reload", config=config)
            assert (done["released"], done["no_longer_held"]) == ({}, {})


async def test_a_name_that_is_not_in_force_yet_is_taken_up(tmp_path: Path) -> None:
    config = write_config(
        tmp_path, {"books": {"url": "http://127.0.0.1:9/", "retry": ["1h"]}}, spools=None
    )
    async with running(config) as relayd:
        await emit(config, "evt_1")
        await logged(relayd, "retry_scheduled")
        await command("pause", "books", config=config)
        renamed(config, "books", "shop")
        printed = await command("rename", "books", "shop", config=config)
        assert "subscription shop: added" in printed
        text = " ".join(printed.split())
        assert "1 delivery of books handed over to shop; 1 of them pending." in text
        assert "shop is paused; `relayd resume shop` resumes it." in text
        assert await waiting(config) == {"shop": 1}
        # The pause went along: the old name, put back, has none.
        renamed(config, "shop", "books")
        assert await command("reload", config=config) == (
            "subscription books: added\n"
            "subscription shop: removed; its backlog of 1 is still held;"
            " `relayd rename shop books` hands it over to another name\n"
        )
        renamed(config, "books", "shop")
        assert await command("reload", config=config) == (
            "subscription shop: added; its backlog of 1 is still held;"
            " it is still paused: `relayd resume shop` resumes it\n"
            "subscription books: removed\n"
        )


async def test_what_cannot_be_renamed(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1:9/"}}, spools=None)
    async with running(config):
        for old, new, said in (
            ("boks", "books", "did you mean books?"),
            ("books", "books", "the two names are the same"),
            ("books", "shop", "is still in"),
        ):
            refused = await run_command("rename", old, new, "--config", str(config))
            assert (refused.returncode, said in refused.stderr.decode()) == (1, True)
        renamed(config, "books", "shop")
        refused = await run_command("rename", "books", "other", "--config", str(config))
        assert refused.returncode == 1
        assert b"there is no subscription 'other'" in refused.stderr
        config.write_text(config.read_text() + "nonsense: 1\n")
        refused = await run_command("rename", "books", "shop", "--config", str(config))
        assert (refused.returncode, b"nonsense" in refused.stderr) == (78, True)


async def test_an_attempt_under_way_is_waited_for_and_made_once(tmp_path: Path) -> None:
    switch = Switch(503)
    async with open_receiver(switch) as receiver:
        config = write_config(
            tmp_path,
            {"books": {"url": receiver.url, "retry": ["50ms"], "timeout": "60s"}},
            spools=None,
        )
        async with running(config) as relayd:
            switch.release = trio.Event()
            await emit(config, "evt_1")
            await until(lambda: receiver.acts_begun == 1)
            renamed(config, "books", "shop")
            results: list[object] = []

            async def rename() -> None:
                results.append(await asked("rename", "books", "shop", config=config))

            async with trio.open_nursery() as nursery:
                nursery.start_soon(rename)
                await logged(relayd, "configuration_reloaded")
                await trio.sleep(0.5)
                assert not results
                assert receiver.acts_begun == 1
                switch.status = 503
                switch.release.set()
            [done] = results
            assert isinstance(done, dict)
            assert (done["moved"], done["waiting"], done["in_flight"]) == (1, 1, 0)
            await logged(relayd, "delivery_exhausted", subscription="shop")
        numbers = [request.header("X-LocallyGrown-Attempt") for request in receiver.requests]
        assert numbers == ["1", "2"]


async def test_what_comes_for_the_new_name_waits_for_what_the_old_one_has_in_the_same_order(
    tmp_path: Path,
) -> None:
    switch = Switch(503)
    switch.release = trio.Event()
    async with open_receiver(switch) as receiver:
        books = {
            "url": receiver.url,
            "retry": ["50ms"] * 9,
            "order_by": "data.object.id",
            "timeout": "60s",
        }
        config = write_config(tmp_path, {"books": books}, spools=None)
        async with running(config) as relayd, trio.open_nursery() as nursery:
            await emit(config, "evt_1", "evt_2")
            await until(lambda: receiver.acts_begun == 1)
            renamed(config, "books", "shop")
            nursery.start_soon(partial(command, "rename", "books", "shop", config=config))
            await logged(relayd, "configuration_reloaded")
            await emit(config, "evt_3")
            await logged(relayd, "event_accepted", event_id="evt_3", subscriptions=["shop"])
            await trio.sleep(0.5)
            assert receiver.acts_begun == 1
            assert (await asked("status", config=config))["daemon"]["kept_back"] == "shop"
            text = " ".join((await command("status", config=config)).split())
            assert "kept back by `relayd rename`" in text
            switch.release.set()
            await logged(relayd, "subscription_renamed")
            switch.status = 200
            await logged(relayd, "attempt_succeeded", event_id="evt_3", subscription="shop")
        sent = [json.loads(each.body)["id"] for each in receiver.requests]
        assert sent == sorted(sent)
        assert set(sent) == {"evt_1", "evt_2", "evt_3"}


async def test_a_replay_says_what_holds_it(tmp_path: Path) -> None:
    async with open_receiver(answer(400)) as receiver:
        config = write_config(
            tmp_path,
            {
                "books": {"url": receiver.url, "retry": []},
                "shop": {"url": receiver.url, "retry": []},
            },
            spools=None,
        )
        async with running(config) as relayd:
            await emit(config, "evt_1")
            await until(lambda: len(relayd.events("delivery_exhausted")) == 2)
            await command("pause", "books", config=config)
            dry = await asked("replay", "evt_1", "--dry-run", config=config)
            assert (dry["matched"], dry["held"]) == (2, {"books": "paused"})
            text = " ".join((await command("replay", "books", "--yes", config=config)).split())
            assert "1 delivery due again, and held. books is held: it is paused;" in text
            assert "`relayd resume books` releases its deliveries" in text
            assert "will go out" not in text
            await command("cancel", "books", "--yes", config=config)
            text = " ".join((await command("replay", "evt_1", "--yes", config=config)).split())
            assert "2 deliveries will go out within the rate limit, those that are not held" in text
            assert "books is held: it is paused" in text
            # Removed: the queue knows it still.
            await until(lambda: len(relayd.events("delivery_exhausted")) == 3)
            renamed(config, "shop", "store")
            await command("reload", config=config)
            told = json.loads(await command("replay", "shop", "--yes", "--json", config=config))
            assert (told["changed"], told["held"]) == (1, {"shop": "removed"})
            await emit(config, "evt_2")
            await command("pause", "store", config=config)
            text = await command("replay", "--backfill", "store", "--yes", config=config)
            assert "store is held: it is paused" in " ".join(text.split())
