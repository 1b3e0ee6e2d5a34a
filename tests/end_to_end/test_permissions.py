"""Who may do what: real users, as which real processes run. Needs root.

`relayd` stands for the daemon's user, `market` for an application in relayd's group, `stranger` for
everybody else on the machine.
"""

import json
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio
from people import NEEDED, People, User, give, made_people
from processes import RelaydProcess, running, write_config

pytestmark = NEEDED

INSERT = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=10, isolation_level=None)
db.execute("INSERT INTO relayd_spool (id, type, data) VALUES (?, 'order.created', '{}')", sys.argv[2:])
sys.stdout.write("inserted\\n")
sys.stdout.flush()
sys.stdin.read()
"""

TOUCH = """
import os, socket, sqlite3, sys
path = sys.argv[1]
for name, attempt in {
    "read": lambda: open(path, "rb").read(1),
    "write": lambda: open(path, "ab").write(b"x"),
    "connect": lambda: socket.socket(socket.AF_UNIX).connect(path),
    "rename": lambda: os.rename(path, path + ".moved"),
    "beside": lambda: open(path + "-beside", "x"),
    "unlink": lambda: os.unlink(path),
}.items():
    try:
        attempt()
    except OSError:
        continue
    print(name)
"""

SEND = """
import socket, sys
with socket.socket(socket.AF_UNIX) as relay:
    relay.connect(sys.argv[1])
    relay.sendall(b'{"type":"order.created","data":{}}\\n')
    print(relay.makefile().readline(), end="")
"""


@pytest.fixture(scope="module")
def people() -> Iterator[People]:
    with made_people() as made:
        yield made


@dataclass(frozen=True)
class Machine:
    """The folders as the package makes them, under one that everybody may enter."""

    root: Path
    people: People

    @property
    def spool(self) -> Path:
        return self.root / "state/spool/spool.db"

    @property
    def queue(self) -> Path:
        return self.root / "state/queue.db"

    @property
    def socket(self) -> Path:
        return self.root / "run/relayd.sock"

    @property
    def secret(self) -> Path:
        return self.root / "etc/secrets/books"

    def configured(self, **other: Any) -> Path:
        subscriptions: dict[str, Mapping[str, object]] = {
            "books": {"url": "https://books.example/", "secret": {"file": str(self.secret)}}
        }
        config = write_config(
            self.root / "etc",
            subscriptions,
            spools={"market": {"path": str(self.spool)}},
            socket={"path": str(self.socket)},
            queue={"path": str(self.queue)},
            **other,
        )
        give(config, self.people.relayd, 0o600)
        return config


@pytest.fixture
def machine(people: People) -> Iterator[Machine]:
    # Not pytest's own folder, which is root's alone.
    root = Path(tempfile.mkdtemp(prefix="relayd-test-"))
    root.chmod(0o755)
    try:
        for name, mode in {
            "state": 0o750,
            "state/spool": 0o2770,
            "run": 0o755,
            "etc": 0o755,
            "etc/secrets": 0o700,
        }.items():
            (root / name).mkdir()
            give(root / name, people.relayd, mode)
        machine = Machine(root, people)
        machine.secret.write_text("a-secret-of-the-tests")
        give(machine.secret, people.relayd, 0o400)
        made = people.relayd.relayd("spool", "create", str(machine.spool))
        assert made.returncode == 0, made.stderr
        yield machine
    finally:
        shutil.rmtree(root)


def daemon(machine: Machine, config: Path) -> AbstractAsyncContextManager[RelaydProcess]:
    # As the unit has it: what the daemon makes is its own, but for what must be shared.
    umask = ("sh", "-c", 'umask 0077; exec "$@"', "sh")
    return running(config, under=(*umask, *machine.people.relayd.under))


class Insertion:
    """A process of the market that has inserted an event, and keeps its connection open."""

    def __init__(self, process: trio.Process) -> None:
        self._process = process

    async def leaves(self) -> None:
        assert self._process.stdin is not None
        await self._process.stdin.aclose()
        with trio.fail_after(20):
            await self._process.wait()


@asynccontextmanager
async def inserting(machine: Machine, event_id: str, umask: int) -> AsyncIterator[Insertion]:
    """Insert as the market; at the end the process is killed if it has not left."""
    process = await trio.lowlevel.open_process(
        [*machine.people.market.under, sys.executable, "-c", INSERT, str(machine.spool), event_id],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd="/",
        umask=umask,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    async with process.stdin, process.stdout:
        try:
            with trio.fail_after(20):
                assert await process.stdout.receive_some() == b"inserted\n"
            yield Insertion(process)
        finally:
            process.kill()
            with trio.CancelScope(shield=True):
                await process.wait()


async def accepted(relayd: RelaydProcess, event_id: str) -> None:
    with trio.fail_after(20):
        await relayd.logged("event_accepted", event_id=event_id)


@pytest.mark.parametrize("umask", [0o022, 0o077])
async def test_the_spool_is_shared_whoever_comes_first_and_goes_last(
    machine: Machine, umask: int
) -> None:
    config = machine.configured()
    beside = [Path(f"{machine.spool}-wal"), Path(f"{machine.spool}-shm")]
    async with inserting(machine, "evt_1", umask) as first:
        assert {each.owner() for each in beside} == {machine.people.market.name}
        async with daemon(machine, config) as relayd:
            await accepted(relayd, "evt_1")
            async with inserting(machine, "evt_2", umask) as second:
                await accepted(relayd, "evt_2")
                await first.leaves()
                await second.leaves()
    # The last to leave has removed what stood beside it. Now relayd comes first.
    assert not any(each.exists() for each in beside)
    async with daemon(machine, config) as relayd:
        # It says that it runs as soon as it is asked to read the spool.
        with trio.fail_after(20):
            while not all(each.exists() for each in beside):
                await trio.sleep(0.01)
        async with inserting(machine, "evt_3", umask) as third:
            await accepted(relayd, "evt_3")
            assert {each.owner() for each in beside} == {machine.people.relayd.name}
            assert {stat.S_IMODE(each.stat().st_mode) for each in beside} == {0o660}
            assert await relayd.stop() == 0
            # The market goes on with what relayd has left to it, and relayd with that.
            async with inserting(machine, "evt_4", umask) as fourth:
                await third.leaves()
                async with daemon(machine, config) as again:
                    await accepted(again, "evt_4")
                    await fourth.leaves()


async def test_what_keeps_relayd_out_of_a_spool_is_named(machine: Machine) -> None:
    spool, state = machine.spool, machine.spool.parent.parent
    config = machine.configured()
    spool.parent.chmod(0o770)
    async with inserting(machine, "evt_1", 0o022), daemon(machine, config) as relayd:
        with trio.fail_after(20):
            line = await relayd.logged("source_unavailable")
            assert f"{spool}-wal" in line["detail"]
            assert "chmod g+rwxs" in line["detail"]
            give(spool.parent, machine.people.stranger, 0o755)
            await relayd.logged("source_unavailable", after=len(relayd.lines))
            line = relayd.events("source_unavailable")[-1]
            assert f"write to {spool.parent}:" in line["detail"]
    # As ProtectHome= has it.
    moved = machine.root / "home/spool"
    (machine.root / "home").mkdir(mode=0o700)
    moved.mkdir()
    write_config(
        machine.root / "etc",
        spools={"market": {"path": str(moved / "spool.db")}},
        queue={"path": str(state / "queue.db")},
        socket=None,
    )
    async with daemon(machine, config) as relayd:
        with trio.fail_after(20):
            line = await relayd.logged("source_unavailable")
        assert f"write to {moved.parent}:" in line["detail"]


async def test_what_changes_while_it_reads_is_named_and_followed(machine: Machine) -> None:
    people, spool = machine.people, machine.spool
    config = machine.configured()
    async with daemon(machine, config) as relayd:
        async with inserting(machine, "evt_1", 0o022):
            await accepted(relayd, "evt_1")
        # Restored from a backup, with the mode of one.
        restored = machine.root / "restored.db"
        made = people.relayd.relayd("spool", "create", str(machine.root / "state/new.db"))
        assert made.returncode == 0, made.stderr
        shutil.move(machine.root / "state/new.db", restored)
        give(restored, User(people.market.name, people.relayd.group), 0o640)
        restored.rename(spool)
        with trio.fail_after(20):
            line = await relayd.logged("source_unavailable")
        assert f"write to {spool}:" in line["detail"]
        # No file of SQLite's is there, but whoever came first would keep the other out.
        spool.chmod(0o660)
        spool.parent.chmod(0o770)
        with trio.fail_after(20):
            while "keep the others out" not in relayd.events("source_unavailable")[-1]["detail"]:
                await trio.sleep(0.05)
        fix = relayd.events("source_unavailable")[-1]["detail"]
        assert f"chmod g+rwxs {spool.parent}" in fix
        check = people.relayd.relayd("check", "--config", str(config))
        assert "keep the others out" in " ".join(check.stdout.split())
        spool.parent.chmod(0o2770)
        async with inserting(machine, "evt_2", 0o022):
            await accepted(relayd, "evt_2")
        assert not relayd.events("reader_exited")


async def test_a_link_to_a_spool_may_be_where_it_may_not_write(machine: Machine) -> None:
    link = machine.root / "link.db"
    link.symlink_to(machine.spool)
    config = machine.configured()
    config.write_text(config.read_text().replace(str(machine.spool), str(link)))
    async with daemon(machine, config) as relayd:
        sent = machine.people.relayd.relayd(
            *("emit", "order.created", "--sample", "--id", "evt_1", "--via", "spool"),
            *("--config", str(config)),
        )
        assert sent.returncode == 0, sent.stderr
        await accepted(relayd, "evt_1")


async def test_a_spool_that_it_may_only_read_is_left_to_the_market(machine: Machine) -> None:
    # As SQLite makes a file of the market's own, whose group relayd is in.
    folder = machine.root / "market"
    folder.mkdir()
    spool = folder / "market.db"
    shutil.copy(machine.spool, spool)
    market = User(machine.people.market.name, machine.people.relayd.group)
    give(folder, market, 0o2770)
    give(spool, market, 0o640)
    config = machine.configured()
    config.write_text(config.read_text().replace(str(machine.spool), str(spool)))
    async with daemon(machine, config) as relayd:
        with trio.fail_after(20):
            line = await relayd.logged("source_unavailable")
        assert f"write to {spool}:" in line["detail"]
        for number in range(5):
            said = await trio.to_thread.run_sync(market.python, INSERT, spool, f"evt_{number}")
            assert said.stdout == "inserted\n", said.stderr
        spool.chmod(0o660)
        await accepted(relayd, "evt_4")


async def test_the_socket_is_the_groups(machine: Machine) -> None:
    async with daemon(machine, machine.configured()) as relayd:
        answered = machine.people.market.python(SEND, machine.socket)
        assert json.loads(answered.stdout)["ok"] is True
        refused = machine.people.stranger.python(SEND, machine.socket)
        assert "PermissionError" in refused.stderr
        refused = machine.people.stranger.python(INSERT, machine.spool, "evt_1")
        assert "unable to open database file" in refused.stderr
        with trio.fail_after(20):
            await relayd.logged("event_accepted", source="socket")


async def test_who_may_not_ask_is_not_told_that_relayd_is_not_running(machine: Machine) -> None:
    """`test` sends nothing by itself then: it would be beside the daemon's rate limit."""
    config = machine.configured()
    config.chmod(0o644)
    async with daemon(machine, config):
        for line in ("reload", "test books", "pause books", "check --diff", "replay books -y"):
            done = machine.people.stranger.relayd(*line.split(), "--json", "--config", str(config))
            assert done.returncode == 1
            assert json.loads(done.stdout)["code"] == "not_permitted", line
            assert "may not ask the daemon" in done.stderr
            assert "running" not in done.stderr.replace("the running daemon", "")
        done = machine.people.stranger.relayd("spool", "status", "--json", "--config", str(config))
        assert json.loads(done.stdout)["running"] is None
        done = machine.people.stranger.relayd("status", "--config", str(config))
        assert "may not ask the daemon" in done.stderr


async def test_the_rest_is_relayds_alone(machine: Machine) -> None:
    config = machine.configured()
    async with daemon(machine, config) as relayd:
        assert "true" in machine.people.market.python(SEND, machine.socket).stdout
        with trio.fail_after(20):
            await relayd.logged("event_accepted")
        state = set((machine.root / "state").iterdir()) - {machine.spool.parent}
        names = {each.name.removeprefix("queue.db") for each in state}
        assert names >= {"", "-wal", "-shm", ".lock", ".control", ".reserve"}, names
        private = [*state, config, machine.secret, machine.root / "state/new"]
        for user in (machine.people.market, machine.people.stranger):
            for path in private:
                tried = user.python(TOUCH, path)
                assert (tried.returncode, tried.stdout) == (0, ""), (user.name, path)
        for command in (["reload"], ["deliveries"], ["status"]):
            said = machine.people.market.relayd(*command, "--config", str(config))
            assert said.returncode != 0
            assert machine.people.market.name in said.stderr, said.stderr


def test_a_secret_that_others_may_read_is_an_error_at_check(machine: Machine) -> None:
    config = machine.configured()
    check = ("check", "--config", str(config))
    assert machine.people.relayd.relayd(*check).returncode == 0
    give(machine.secret, machine.people.relayd, 0o404)
    said = machine.people.relayd.relayd(*check)
    assert said.returncode == 78
    assert "may be read by everybody on this machine" in said.stderr
    machine.secret.chmod(0o400)
    os.chown(machine.secret, 0, 0)
    said = machine.people.relayd.relayd(*check)
    assert said.returncode == 78
    assert f"cannot be opened by user {machine.people.relayd.name}" in said.stderr
    assert "a-secret-of-the-tests" not in said.stderr


def test_spool_create_for_a_group(machine: Machine) -> None:
    people = machine.people
    path = machine.root / "shared/spool.db"
    options = ("--group", people.relayd.group)
    said = subprocess.run(
        [sys.executable, "-m", "relayd", "spool", "create", str(path), *options],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert f"in group {people.relayd.group}" in said.stdout
    for user in (people.market, people.relayd):
        assert user.python(INSERT, path, f"evt_{user.name}").stdout == "inserted\n"
    assert "unable to open" in people.stranger.python(INSERT, path, "evt_x").stderr
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT count(*) FROM relayd_spool").fetchall() == [(2,)]
    # Who is not in the group cannot give it anything, and leaves nothing behind.
    home = machine.root / "home"
    home.mkdir()
    give(home, people.stranger, 0o700)
    for target in (home / "spool.db", home / "new/spool.db"):
        refused = people.stranger.relayd("spool", "create", str(target), *options)
        assert refused.returncode == 1
        assert "use sudo" in refused.stderr
        assert list(home.iterdir()) == []
