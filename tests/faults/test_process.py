"""Signals, limits and streams of the process itself."""

import fcntl
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
import trio
from faults.injection import (
    limited,
    little_memory,
    long_form,
    needs_prlimit,
    needs_root,
    nobody,
    reachable,
)
from faults.producing import all_delivered, cpu_s, insert, integrity, producer, states, until
from processes import make_spool, running, started, write_config
from receivers import answer, drip, never, open_receiver


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_sigterm_lets_attempts_finish_and_keeps_what_did_not(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    slowly = drip(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", interval_s=0.02)
    async with open_receiver(slowly) as slow, open_receiver(never()) as hung:
        config = write_config(
            tmp_path,
            {
                "slow": {"url": slow.url, "rate_limit": "1000/s"},
                "hung": {"url": hung.url, "rate_limit": "1000/s", "timeout": "3s"},
            },
        )
        async with running(config) as relayd, producer(tmp_path) as each:
            assert (await each.hand_over("evt_1"))["ok"]
            await until(lambda: slow.requests and hung.requests)
            relayd.signal(signal.SIGTERM)
            with pytest.raises(EOFError):
                await each.answer()
            assert await relayd.wait() == 0
    assert [line["subscription"] for line in relayd.events("attempt_succeeded")] == ["slow"]
    assert [line["failure"] for line in relayd.events("attempt_failed")] == ["timeout"]


@long_form
async def test_sigterm_ends_within_15_seconds_whatever_is_in_flight(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver(never()) as receiver:
        config = write_config(
            tmp_path, {"hung": {"url": receiver.url, "rate_limit": "1000/s", "timeout": "60s"}}
        )
        async with running(config) as relayd, producer(tmp_path) as each:
            for number in range(30):
                assert (await each.hand_over(f"evt_{number}"))["ok"]
            await until(lambda: len(receiver.requests) == 8)
            began = time.monotonic()
            relayd.signal(signal.SIGTERM)
            assert await relayd.wait() == 0
            assert 9.0 < time.monotonic() - began < 15.0
    assert set(states(tmp_path / "queue.db").values()) == {"pending"}


async def test_a_second_sigterm_ends_it_at_once(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver(never()) as receiver:
        config = write_config(tmp_path, {"hung": {"url": receiver.url, "rate_limit": "1000/s"}})
        async with running(config) as relayd, producer(tmp_path) as each:
            assert (await each.hand_over("evt_1"))["ok"]
            await until(lambda: receiver.requests)
            relayd.signal(signal.SIGTERM)
            with trio.fail_after(15):
                await relayd.logged("stopping")
            relayd.signal(signal.SIGTERM)
            # Without the second one, the attempt would have its 10 s.
            assert await relayd.wait(6.0) == 0
    assert states(tmp_path / "queue.db") == {"evt_1": "pending"}


async def test_a_process_that_was_stopped_makes_no_burst(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver() as receiver:
        # 40 in any 4 s: a burst of 4, and 9.2 a second.
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "600/min"}})
        async with running(config) as relayd, producer(tmp_path) as each:
            for number in range(200):
                assert (await each.hand_over(f"evt_{number}"))["ok"]
            await until(lambda: len(receiver.requests) > 15)
            relayd.signal(signal.SIGSTOP)
            await trio.sleep(0.3)  # what was under way arrives
            before = len(receiver.requests)
            await trio.sleep(3.0)
            assert len(receiver.requests) == before
            relayd.signal(signal.SIGCONT)
            continued = trio.current_time()
            await trio.sleep(2.0)
            # Not what came after them, where this process was woken late.
            after = [at for each in receiver.requests[before:] if (at := each.at - continued) < 2.0]
            # The tokens of 3 s would be 27: there is room for a burst, and no more.
            assert sum(at < 0.5 for at in after) <= 10 + 6
            assert len(after) <= 10 + 2.5 * 9.9


async def test_a_storm_of_sighups_loses_nothing_and_leaks_nothing(tmp_path: Path) -> None:
    spool = make_spool(tmp_path / "spool.db")
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        async with running(config) as relayd, producer(tmp_path) as each:
            assert (await each.hand_over("evt_first"))["ok"]
            await relayd.logged("attempt_succeeded")
            files = open_files(relayd.pid)
            for number in range(100):
                relayd.signal(signal.SIGHUP)
                assert (await each.hand_over(f"evt_{number}"))["ok"]
                if number % 10 == 0:
                    insert(spool, f"evt_spool_{number}")
            await until(lambda: len(receiver.requests) == 111)
            with trio.fail_after(30):
                # Signals that come together count once, and so do those that come during a reload.
                await relayd.logged("configuration_reloaded")
                seen = len(relayd.lines)
                relayd.signal(signal.SIGHUP)
                await relayd.logged("configuration_reloaded", after=seen)
            await until(lambda: open_files(relayd.pid) <= files + 3)
            assert not relayd.events("reload_refused")
    assert set(states(tmp_path / "queue.db").values()) == {"delivered"}


async def test_a_sighup_during_the_start_is_obeyed_after_it(tmp_path: Path) -> None:
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1:9/hook"}})
    shop = {"url": "http://127.0.0.1:9/other"}
    following = write_config(tmp_path, {"shop": shop}, name="next.yaml")
    env = {"NEXT": str(following)}
    async with running(config, module="hung_up_relayd", env=env) as relayd:
        with trio.fail_after(30):
            line = await relayd.logged("configuration_reloaded")
        assert line["changes"] == ["subscription shop: added", "subscription books: removed"]
        assert not relayd.events("reload_refused")


async def test_a_second_daemon_ends_and_names_the_first(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    config = write_config(tmp_path, {"books": {"url": "http://127.0.0.1:9/hook"}})
    async with running(config) as first:
        async with started(config) as second:
            assert await second.wait() == 1
        assert str(first.pid) in second.errors
        assert "another relayd" in second.errors
        assert second.errors.count("\n") == 1
        async with producer(tmp_path) as each:
            assert (await each.hand_over("evt_1"))["ok"], "the first one's socket is untouched"


@needs_prlimit
async def test_without_file_descriptors_it_backs_off_and_goes_on(tmp_path: Path) -> None:
    spool = make_spool(tmp_path / "spool.db")
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s", "retry": ["1s"] * 9}})  # fmt: skip
        async with running(config, under=limited(nofile=40)) as relayd:
            insert(spool, "evt_0")
            with trio.fail_after(30):
                await relayd.logged("attempt_succeeded", event_id="evt_0")
            with ExitStack() as idle:
                for _ in range(60):
                    client = idle.enter_context(socket.socket(socket.AF_UNIX))
                    client.setblocking(False)
                    try:
                        client.connect(str(tmp_path / "relayd.sock"))
                    except BlockingIOError:
                        break
                await until(lambda: open_files(relayd.pid) >= 39)  # there is none left
                insert(spool, "evt_1")
                before = cpu_s(relayd.pid)
                lines = len(relayd.lines)
                await trio.sleep(3.0)
                assert cpu_s(relayd.pid) - before < 0.6, "no busy loop"
                assert len(relayd.lines) - lines < 30
                [line] = relayd.events("accept_failed")
                assert "LimitNOFILE" in line["detail"]
                # What is open goes on.
                await until(lambda: "evt_1" in states(tmp_path / "queue.db"))
            with trio.fail_after(30):
                await relayd.logged("attempt_succeeded", event_id="evt_1")
            async with producer(tmp_path) as each:
                assert (await each.hand_over("evt_2"))["ok"]
        assert relayd.errors == ""


@needs_root
@pytest.mark.parametrize("lacking", ["queue", "folder", "socket"])
async def test_missing_permissions_name_the_path_and_the_user(tmp_path: Path, lacking: str) -> None:
    under = nobody()
    folder = tmp_path / "state"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    reachable(tmp_path)
    make_spool(folder / "spool.db").chmod(0o666)
    sockets = folder / "sockets"
    sockets.mkdir(mode=0o755)
    sockets.chmod(0o777 if lacking != "socket" else 0o755)
    config = write_config(
        folder,
        {"books": {"url": "http://127.0.0.1:9/hook"}},
        socket={"path": str(sockets / "relayd.sock")},
    )
    config.chmod(0o644)
    if lacking == "queue":
        (folder / "queue.db").touch(mode=0o600)
    if lacking == "folder":
        folder.chmod(0o755)
    async with started(config, under=under) as relayd:
        assert await relayd.wait() == 1
    assert "Traceback" not in relayd.errors
    assert "nobody" in relayd.errors
    path = {"queue": folder / "queue.db", "folder": folder, "socket": sockets / "relayd.sock"}
    assert str(path[lacking]) in relayd.errors


async def test_a_log_that_nobody_reads_stops_no_delivery(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        reading, writing = os.pipe()
        process = await unread(config, writing)
        try:
            await until((tmp_path / "relayd.sock").exists)
            async with producer(tmp_path) as each:
                for number in range(600):
                    assert (await each.hand_over(f"evt_{number}"))["ok"]
                await until(lambda: len(receiver.requests) == 600)
            os.close(reading)  # and then there is no reader any more
            reading = -1
            async with producer(tmp_path) as each:
                assert (await each.hand_over("evt_last"))["ok"]
                await until(lambda: len(receiver.requests) == 601)
            process.send_signal(signal.SIGTERM)
            with trio.fail_after(15):
                assert await process.wait() == 0
        finally:
            if reading >= 0:
                os.close(reading)
            if process.returncode is None:
                process.kill()


async def unread(config: Path, stdout: int) -> trio.Process:
    """Start relayd with its log into a pipe of one page."""
    fcntl.fcntl(stdout, fcntl.F_SETPIPE_SZ, 4096)
    tests = Path(__file__).parents[1]
    process = await trio.lowlevel.open_process(
        [sys.executable, "-m", "relayd", "run", "--config", str(config)],
        stdout=stdout,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": f"{tests}:{tests.parent}"},
        cwd=config.parent,
    )
    os.close(stdout)
    return process


async def test_thousands_of_failures_leave_a_bounded_log_with_counts(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver(answer(500)) as receiver:
        config = write_config(
            tmp_path,
            {
                f"books_{number}": {
                    "url": receiver.url.replace("/hook", f"/{number}"),
                    "rate_limit": "100000/s",
                    "retry": ["10ms"] * 50,
                }
                for number in range(20)
            },
        )
        async with running(config) as relayd, producer(tmp_path) as each:
            for number in range(3):
                assert (await each.hand_over(f"evt_{number}"))["ok"]
            await until(lambda: len(receiver.requests) > 1_500, 60)
        failures = len(receiver.requests)
        lines = relayd.events("attempt_failed")
        left_out = sum(line["count"] for line in relayd.events("log_lines_suppressed") if line["of"] == "attempt_failed")  # fmt: skip
        assert len(lines) < failures
        # Those that the end cut off were not told.
        assert failures - 30 <= len(lines) + left_out <= failures


async def test_a_kill_for_want_of_memory_loses_nothing(tmp_path: Path) -> None:
    make_spool(tmp_path / "spool.db")
    async with open_receiver() as receiver:
        config = write_config(tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}})
        async with started(config) as relayd:
            with trio.fail_after(30):
                await relayd.logged("started")
            async with producer(tmp_path) as each:
                assert (await each.hand_over("evt_1"))["ok"]
                with little_memory(relayd.pid, 4_000_000):
                    accepted = await each.hand_over_until_it_ends(2_000, size=900_000)
                    assert await relayd.wait() == -signal.SIGKILL
        async with running(config):
            await until(lambda: all_delivered(tmp_path / "queue.db"), 60)
    assert {"evt_1", *accepted} <= states(tmp_path / "queue.db").keys()
    assert integrity(tmp_path / "queue.db") == "ok"
