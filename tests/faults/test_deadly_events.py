"""Events that kill the process: each is set aside after three deaths, and the others flow."""

import json
import signal
from pathlib import Path

import pytest
import trio
from faults.producing import insert, integrity, producer, states, until
from processes import RelaydProcess, command, make_spool, running, started, write_config
from receivers import answer, never, open_receiver

INNOCENT = {f"evt_{number}" for number in range(20)}


async def dies(relayd: RelaydProcess) -> None:
    assert await relayd.wait() == -signal.SIGKILL, relayd.errors


async def give_up(relayd: RelaydProcess, hangs: Path) -> None:
    """Do what the watchdog of a service manager does to a process that says nothing any more."""
    await until(hangs.exists)
    hangs.unlink()
    relayd.signal(signal.SIGABRT)
    assert await relayd.wait() == -signal.SIGABRT


@pytest.mark.parametrize("at", ["sign", "answer", "hang"])
async def test_a_delivery_that_kills_is_set_aside_after_three_deaths(
    tmp_path: Path, at: str
) -> None:
    spool, hangs = make_spool(tmp_path / "spool.db"), tmp_path / "hangs"
    env = {"RELAYD_DIES_AT": at, "RELAYD_HANGS": str(hangs)}
    for event_id in ["evt_deadly", *INNOCENT]:
        insert(spool, event_id)
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        for _ in range(3):
            async with started(config, env=env, module="faults.dies_at") as relayd:
                await (give_up(relayd, hangs) if at == "hang" else dies(relayd))
        async with running(config, env=env, module="faults.dies_at") as relayd:
            told = await relayd.logged("crash_detected")
            assert told["deaths"] == 3
            failed = await relayd.logged("delivery_exhausted", event_id="evt_deadly")
            assert failed["delivery_id"] == told["delivery_id"]
            await until(
                lambda: list(states(tmp_path / "queue.db").values()).count("delivered") == 20
            )
            shown = json.loads(await command("show", told["delivery_id"], "--json", config=config))
        assert states(tmp_path / "queue.db") == {
            "evt_deadly": "exhausted",
            **dict.fromkeys(INNOCENT, "delivered"),
        }
        [delivery] = shown["deliveries"]
        last = delivery["history"][-1]
        assert last["failure"] == "quarantined"
        assert "it crashed relayd 3 times" in last["detail"]
        # It has ended in order by now: a relayd without the fault gets it through.
        async with running(config) as relayd:
            await command("replay", told["delivery_id"], "--yes", config=config)
            await relayd.logged("attempt_succeeded", event_id="evt_deadly")
            assert not relayd.events("crash_detected")
    assert integrity(tmp_path / "queue.db") == "ok"


async def test_a_deadly_delivery_that_moved_to_another_url_meanwhile_is_set_aside_there(
    tmp_path: Path,
) -> None:
    env = await died_three_times(tmp_path)
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config, env=env, module="faults.dies_at") as relayd:
            told = await relayd.logged("crash_detected")
            await relayd.logged("delivery_exhausted", event_id="evt_deadly")
            # Again at the other URL, by a reload while it runs: still not tried.
            async with open_receiver() as other:
                write_config(tmp_path, {"books": {"url": other.url}})
                await command("reload", config=config)
                await command("replay", told["delivery_id"], "--yes", config=config)
                await until(lambda: len(relayd.events("delivery_exhausted")) == 2)
                assert not receiver.requests
                assert not other.requests
                write_config(tmp_path, {"books": {"url": receiver.url}})
        async with running(config) as relayd:
            await command("replay", told["delivery_id"], "--yes", config=config)
            await relayd.logged("attempt_succeeded", event_id="evt_deadly")
        assert len(receiver.requests) == 1
    assert integrity(tmp_path / "queue.db") == "ok"


async def test_a_deadly_delivery_that_is_cancelled_before_it_is_set_aside_stays_cancelled(
    tmp_path: Path,
) -> None:
    env = await died_three_times(tmp_path)
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "active": False}})
        async with running(config, env=env, module="faults.dies_at") as relayd:
            deadly = (await relayd.logged("crash_detected"))["delivery_id"]
            assert states(tmp_path / "queue.db") == {"evt_deadly": "pending"}, "it is held"
            await command("cancel", deadly, "--yes", config=config)
            write_config(tmp_path, {"books": {"url": receiver.url}})
            await command("reload", config=config)
            insert(tmp_path / "spool.db", "evt_after")
            await relayd.logged("attempt_succeeded", event_id="evt_after")
            assert states(tmp_path / "queue.db")["evt_deadly"] == "cancelled"
            assert not relayd.events("delivery_exhausted")
            # Whoever takes it back before a clean stop finds it set aside.
            await command("replay", deadly, "--yes", config=config)
            await relayd.logged("delivery_exhausted", event_id="evt_deadly")
        async with running(config) as relayd:
            await command("replay", deadly, "--yes", config=config)
            await relayd.logged("attempt_succeeded", event_id="evt_deadly")
        assert len(receiver.requests) == 2
    assert integrity(tmp_path / "queue.db") == "ok"


async def died_three_times(folder: Path) -> dict[str, str]:
    """Have relayd die three times at a delivery; return the environment that makes it do so."""
    env = {"RELAYD_DIES_AT": "sign"}
    insert(make_spool(folder / "spool.db"), "evt_deadly")
    async with open_receiver() as receiver:
        config = write_config(folder, {"books": {"url": receiver.url}})
        for _ in range(3):
            async with started(config, env=env, module="faults.dies_at") as relayd:
                await dies(relayd)
        assert not receiver.requests
    return env


@pytest.mark.parametrize("at", ["row", "row hangs", "row needs memory", "row has a defect"])
async def test_a_row_that_kills_its_reader_is_rejected_after_three_deaths(
    tmp_path: Path, at: str
) -> None:
    env = {"RELAYD_DIES_AT": at}
    spool, other = make_spool(tmp_path / "spool.db"), make_spool(tmp_path / "other.db")
    for event_id in sorted(INNOCENT):
        insert(spool, event_id)
    insert(spool, "evt_deadly")
    insert(spool, "evt_20")
    spools = {"market": {"path": "spool.db"}, "other": {"path": "other.db"}}
    async with open_receiver() as receiver:
        config = write_config(
            tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}}, spools=spools
        )
        async with running(config, env=env, module="faults.dies_at") as relayd:
            await relayd.logged("reader_exited")
            insert(other, "evt_other")
            await relayd.logged("attempt_succeeded", event_id="evt_other")
            with trio.fail_after(90):
                await relayd.logged("input_rejected", code="quarantined", source="spool market")
            await until(
                lambda: states(tmp_path / "queue.db") == delivered(*INNOCENT, "evt_20", "evt_other")
            )
            ended = relayd.events("reader_exited")
            assert [each["source"] for each in ended] == ["spool market"] * 3
            assert "3 times" in ended[-1]["detail"]
            if at == "row has a defect":
                [said, *_] = relayd.events("reader_internal_error")
                assert "RuntimeError" in said["traceback"]
                assert "a payload" not in json.dumps(relayd.lines)
        async with running(config) as relayd:
            await command("rejected", "resubmit", "1", config=config)
            await relayd.logged("attempt_succeeded", event_id="evt_deadly")


async def test_a_row_that_kills_the_daemon_is_rejected_after_three_deaths(tmp_path: Path) -> None:
    spool, env = make_spool(tmp_path / "spool.db"), {"RELAYD_DIES_AT": "match"}
    for event_id in sorted(INNOCENT):
        insert(spool, event_id)
    insert(spool, "evt_deadly")
    insert(spool, "evt_20")
    async with open_receiver() as receiver:
        # A condition, since without one the type alone decides, and the event is not looked at.
        books = {"url": receiver.url, "rate_limit": "1000/s", "where": {"id": {"glob": "evt_*"}}}
        config = write_config(tmp_path, {"books": books})
        for _ in range(3):
            async with started(config, env=env, module="faults.dies_at") as relayd:
                await dies(relayd)
        async with running(config, env=env, module="faults.dies_at") as relayd:
            assert (await relayd.logged("crash_detected"))["deaths"] == 3
            await relayd.logged("input_rejected", code="quarantined")
            await until(lambda: states(tmp_path / "queue.db") == delivered(*INNOCENT, "evt_20"))
        async with running(config) as relayd:
            await command("rejected", "resubmit", "1", config=config)
            await relayd.logged("attempt_succeeded", event_id="evt_deadly")


async def test_a_line_that_kills_is_refused_after_three_deaths(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    env = {"RELAYD_DIES_AT": "line"}
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        for number in range(3):
            async with (
                started(config, env=env, module="faults.dies_at") as relayd,
            ):
                await relayd.logged("started")
                async with producer(tmp_path) as each:
                    assert (await each.hand_over(f"evt_{number}"))["ok"]
                    with pytest.raises(EOFError):
                        await each.hand_over("evt_deadly")
                await dies(relayd)
        async with (
            running(config, env=env, module="faults.dies_at") as relayd,
            producer(tmp_path) as each,
        ):
            refused = await each.hand_over("evt_deadly")
            assert (refused["ok"], refused["code"]) == (False, "quarantined")
            assert (await each.hand_over("evt_3"))["ok"]
            await until(
                lambda: (
                    states(tmp_path / "queue.db") == delivered("evt_0", "evt_1", "evt_2", "evt_3")
                )
            )


async def test_a_delivery_that_waits_for_its_answer_is_not_to_blame(tmp_path: Path) -> None:
    spool = make_spool(tmp_path / "spool.db")
    insert(spool, "evt_slow")
    async with open_receiver(*[never()] * 5, answer(200)) as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        for number in range(5):
            async with running(config) as relayd:
                await until(lambda seen=number + 1: len(receiver.requests) == seen)
                await trio.sleep(0.1)
                relayd.signal(signal.SIGKILL)
                await dies(relayd)
            assert not relayd.events("crash_detected")
        async with running(config) as relayd:
            succeeded = await relayd.logged("attempt_succeeded", event_id="evt_slow")
            assert succeeded["attempt"] == 1


def delivered(*events: str) -> dict[str, str]:
    return dict.fromkeys(events, "delivered")
