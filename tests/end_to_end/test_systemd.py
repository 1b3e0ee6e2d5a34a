"""The daemon under a service manager: it is told, it watches, and it passes the socket.

The manager is the tests' own, on real sockets, and `systemd-socket-activate` where there is one.
`make test-systemd` has the real systemd do it, as process 1.
"""

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import stat
import subprocess
import sys
import threading
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml
from processes import command, running, started, write_config
from service_manager import ServiceManager, environment, listening, passing, service_manager

from relayd.cli.command_error import WRONG_CONFIGURATION
from relayd.config.sections import QueueConfig
from relayd.daemon import GRACE_S
from relayd.unix_socket.listener import BACKLOG
from relayd.web.server import GRACE_S as WEB_GRACE_S

EVENT = b'{"type":"order.created","data":{"object":{}}}\n'
SECURITY = ("systemd-analyze", "security", "--offline=true", "--threshold=12", "--no-pager")
UNITS = Path(__file__).parents[2] / "systemd"
NAMES = ("relayd.service", "relayd.socket", "relayd-web.service")


def without_spool(folder: Path, **other: Any) -> Path:
    return write_config(folder, name="config.yaml", spools=None, **other)


async def emit(path: Path) -> dict[str, object]:
    with trio.fail_after(20):
        async with await trio.open_unix_socket(path) as stream:
            await stream.send_all(EVENT)
            answer: dict[str, object] = json.loads(await stream.receive_some())
    return answer


async def test_start_reload_and_stop_are_told(tmp_path: Path) -> None:
    config = without_spool(tmp_path)
    async with service_manager(tmp_path) as manager:
        async with running(config, env=environment(manager)) as relayd:
            with trio.fail_after(10):
                heard = await manager.hears("READY")
                assert "0 subscriptions" in manager.told[heard - 1]["STATUS"]
                # A good file, a bad one, and a signal: systemd hears of each beginning and end.
                await command("reload", config=config)
                heard = await manager.hears("RELOADING", after=heard)
                heard = await manager.hears("READY", after=heard)
                good = config.read_text()
                config.write_text(good.replace("market_id", "markt_id"))
                printed = await command("reload", config=config, status=78)
                assert "markt_id: unknown key" in printed
                heard = await manager.hears("RELOADING", after=heard)
                heard = await manager.hears("READY", after=heard)
                config.write_text(good)
                relayd.signal(signal.SIGHUP)
                heard = await manager.hears("RELOADING", after=heard)
                heard = await manager.hears("READY", after=heard)
                relayd.signal(signal.SIGTERM)
                await manager.hears("STOPPING", after=heard)
                assert await relayd.wait() == 0
        assert not any("WATCHDOG" in message for message in manager.told), "nobody watches"


async def test_a_wrong_configuration_is_78_and_never_ready(tmp_path: Path) -> None:
    config = without_spool(tmp_path, market_id=None)
    async with service_manager(tmp_path) as manager:
        async with started(config, env=environment(manager)) as relayd:
            assert await relayd.wait() == 78
        assert manager.told == []


async def fed(manager: ServiceManager, times: int) -> None:
    heard = len(manager.told)
    with trio.fail_after(10):
        for _ in range(times):
            heard = await manager.hears("WATCHDOG", after=heard)


async def test_the_watchdog_is_fed_until_the_queue_hangs(tmp_path: Path) -> None:
    config = without_spool(tmp_path)
    async with service_manager(tmp_path) as manager:
        env = environment(manager, WATCHDOG_USEC="400000")
        async with started(config, env=env, module="hanging_relayd") as relayd:
            await fed(manager, 5)
            stream = await trio.open_unix_socket(tmp_path / "relayd.sock")
            await stream.send_all(EVENT)
            with trio.fail_after(10):
                line = await relayd.logged("watchdog_ping_withheld")
            assert line["detail"] == "the queue does not respond"
            heard = len(manager.told)
            await trio.sleep(1)
            assert manager.told[heard:] == []
            # What systemd does then. The log's last lines say where each thread was.
            relayd.signal(signal.SIGABRT)
            assert await relayd.wait() == -signal.SIGABRT
            await stream.aclose()
    assert "_hang" in relayd.errors, relayd.errors


def hands_over(path: Path, ids: list[str], refused: list[OSError], stop: threading.Event) -> None:
    """Hand over one event after the other, each on a connection of its own."""
    number = 0
    while not stop.is_set():
        number += 1
        event_id = f"evt_{number}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(20)
            try:
                connection.connect(str(path))
            except OSError as error:
                refused.append(error)
                continue
            # A process that ends may leave a line unanswered: it is given again, under its id.
            with suppress(ConnectionError):
                connection.sendall(EVENT.replace(b"{", b'{"id":"%s",' % event_id.encode(), 1))
                line = connection.makefile().readline()
                if line and json.loads(line)["ok"]:
                    ids.append(event_id)


async def test_producers_are_never_refused_while_it_restarts(tmp_path: Path) -> None:
    config = without_spool(tmp_path)
    path = tmp_path / "relayd.sock"
    ids: list[str] = []
    refused: list[OSError] = []
    stop = threading.Event()
    with listening(path) as passed:
        inode = path.stat().st_ino
        producer = threading.Thread(target=hands_over, args=(path, ids, refused, stop))
        producer.start()
        try:
            for _ in range(3):
                before = len(ids)
                async with running(
                    config, under=passing(passed), pass_fds=[passed.fileno()]
                ) as relayd:
                    with trio.fail_after(20):
                        while len(ids) < before + 20:
                            await trio.sleep(0.01)
                assert relayd.events("systemd_socket_unused") == []
        finally:
            stop.set()
            meanwhile = list(refused)
            # Who connected last waits for a process that does not come.
            passed.close()
            await trio.to_thread.run_sync(producer.join)
    assert meanwhile == []
    assert path.stat().st_ino == inode, "the socket's file is the service manager's"
    with sqlite3.connect(tmp_path / "queue.db") as db:
        accepted = {event_id for (event_id,) in db.execute("SELECT id FROM events")}
    db.close()
    assert set(ids) <= accepted


async def test_who_waits_is_answered_when_the_configuration_is_wrong(tmp_path: Path) -> None:
    path = tmp_path / "relayd.sock"
    config = without_spool(tmp_path, nonsense=1)
    with listening(path) as passed, ExitStack() as stack:
        producers = []
        for _ in range(40):
            producer = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
            producer.settimeout(10)
            producer.connect(str(path))
            producers.append(producer)
        for producer in producers[:20]:
            producer.sendall(b'{"type":"order.created","data":{}}\n')
        async with started(config, under=passing(passed), pass_fds=[passed.fileno()]) as relayd:
            assert await relayd.wait() == 78
        for producer in producers:
            with producer.makefile("rb") as lines:
                answer, *more = lines
            assert json.loads(answer)["code"] == "unavailable"
            assert more == []
        assert relayd.errors.count("nonsense: unknown key") == 1
        # The socket is the service manager's, and goes on listening.
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as later:
            later.connect(str(path))


async def test_reloads_leave_the_passed_socket_and_come_back_to_it(tmp_path: Path) -> None:
    config = without_spool(tmp_path)
    with listening(tmp_path / "relayd.sock") as passed:
        (tmp_path / "relayd.sock").chmod(0o640)
        async with running(config, under=passing(passed), pass_fds=[passed.fileno()]) as relayd:
            assert (await emit(tmp_path / "relayd.sock"))["ok"] is True
            without_spool(tmp_path, socket={"path": "other.sock"})
            await command("reload", config=config)
            unused = await relayd.logged("systemd_socket_unused")
            assert unused["path"] == str(tmp_path / "relayd.sock")
            assert (await emit(tmp_path / "other.sock"))["ok"] is True
            without_spool(tmp_path, socket={"path": "relayd.sock", "mode": "0600"})
            await command("reload", config=config)
            assert (await emit(tmp_path / "relayd.sock"))["ok"] is True
            # Its mode is the socket unit's to say.
            assert stat.S_IMODE((tmp_path / "relayd.sock").stat().st_mode) == 0o640


async def test_a_reload_changes_the_mode_of_its_own_socket_or_says_why_not(tmp_path: Path) -> None:
    config = without_spool(tmp_path)
    path = tmp_path / "relayd.sock"
    async with running(config):
        without_spool(tmp_path, socket={"path": "relayd.sock", "mode": "0600"})
        await command("reload", config=config)
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        path.unlink()
        without_spool(tmp_path, socket={"path": "relayd.sock", "mode": "0666"})
        assert "mode cannot be changed" in await command("reload", config=config, status=1)


@pytest.mark.skipif(
    shutil.which("systemd-socket-activate") is None, reason="systemd-socket-activate is not there"
)
async def test_systemd_starts_it_at_the_first_connection(tmp_path: Path) -> None:
    config = without_spool(tmp_path)
    path = tmp_path / "relayd.sock"
    under = ("systemd-socket-activate", "--listen", str(path), "-E", "PYTHONPATH")
    async with started(config, under=under) as relayd:
        with trio.fail_after(20):
            while not path.exists():
                await trio.sleep(0.01)
        assert (await emit(path))["ok"] is True
        assert await relayd.stop() == 0
    assert relayd.events("started")


async def test_the_journal_gets_priorities(tmp_path: Path) -> None:
    config = without_spool(tmp_path, log={"level": "info"})
    journal, stdout = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with journal, stdout:
        found = os.fstat(stdout.fileno())
        process = await trio.lowlevel.open_process(
            [sys.executable, "-m", "relayd", "run", "--config", str(config)],
            stdout=stdout.fileno(),
            env={**os.environ, "JOURNAL_STREAM": f"{found.st_dev}:{found.st_ino}"},
        )
        stdout.close()
        reader = trio.SocketStream(trio.socket.from_stdlib_socket(journal))
        text = b""
        with trio.fail_after(20):
            while b"started" not in text:
                text += await reader.receive_some()
            process.terminate()
            async for piece in reader:
                text += piece
            await process.wait()
    lines = text.decode().splitlines()
    assert all(re.match(r"<[2-7]>\{", line) for line in lines), lines
    assert json.loads(lines[0][3:])["event"] == "started"


def unit(name: str) -> dict[str, list[str]]:
    """Return a unit's settings; a key may stand in it more than once."""
    settings: dict[str, list[str]] = {}
    for line in (UNITS / name).read_text().splitlines():
        key, is_setting, value = line.partition("=")
        if is_setting and not line.startswith("#"):
            settings.setdefault(key, []).append(value)
    return settings


def test_the_units_say_what_the_code_does() -> None:
    service, passed = unit("relayd.service"), unit("relayd.socket")
    assert service["RestartPreventExitStatus"] == [str(WRONG_CONFIGURATION)]
    [after] = service["ExecStopPost"]
    assert f'"$$EXIT_STATUS" != {WRONG_CONFIGURATION} ]' in after
    assert after.endswith("systemctl --no-ask-password stop relayd.socket'")
    assert int(service["TimeoutStopSec"][0].removesuffix("s")) > GRACE_S
    example = yaml.safe_load((UNITS.parent / "config.example.yaml").read_text())
    assert passed["ListenStream"] == [example["socket"]["path"]]
    assert passed["SocketUser"] == service["User"]
    assert passed["Backlog"] == [str(BACKLOG)]


def test_the_web_process_has_the_daemons_walls_and_no_configuration() -> None:
    daemon, web = unit("relayd.service"), unit("relayd-web.service")
    assert (web["User"], web["Group"]) == (daemon["User"], daemon["Group"])
    [command_line] = web["ExecStart"]
    packaged = yaml.safe_load((UNITS.parent / "packaging/config.yaml").read_text())
    queue = packaged["queue"]["path"]
    assert command_line == f"/usr/bin/relayd web --queue {queue}"
    assert web["ConditionPathExists"] == [str(QueueConfig(Path(queue), 0.0).web_path)]
    assert web["InaccessiblePaths"] == [
        "/etc/relayd",
        f"-{packaged['spools']['market']['path'][:-9]}",
    ]
    assert (web["IPAddressDeny"], web["IPAddressAllow"]) == (["any"], ["localhost"])
    assert int(web["TimeoutStopSec"][0].removesuffix("s")) > WEB_GRACE_S
    walls = {
        key: value
        for key, value in daemon.items()
        if key.startswith(("Protect", "Private", "Restrict", "NoNew", "Lock", "MemoryDeny", "Cap"))
    }
    walls.pop("RestartPreventExitStatus", None)
    assert len(walls) > 15
    assert {key: web[key] for key in walls} == walls


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not there")
class TestAnalysis:
    def test_the_units_are_right(self, tmp_path: Path) -> None:
        for name in NAMES:
            text = (UNITS / name).read_text().replace("/usr/bin/relayd", "/bin/true")
            (tmp_path / name).write_text(text)
        done = subprocess.run(
            ["systemd-analyze", "verify", "--man=no", *NAMES],
            check=False,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert (done.returncode, done.stdout + done.stderr) == (0, "")

    @pytest.mark.parametrize("name", ["relayd.service", "relayd-web.service"])
    def test_the_service_is_shut_in(self, name: str) -> None:
        done = subprocess.run(
            [*SECURITY, str(UNITS / name)],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout[-2000:]
