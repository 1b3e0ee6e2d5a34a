"""A spool is somebody else's file: what its owner does to it stays with its reader.

Beside the spool that is attacked there is a sound one, whose events are delivered meanwhile.
"""

import json
import os
import shutil
import signal
import sqlite3
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio
from faults.injection import needs_deleting_sqlite, needs_root
from faults.producing import insert, states, until
from processes import RelaydProcess, command, make_spool, running, write_config
from receivers import Receiver, open_receiver

INSERT = "INSERT INTO relayd_spool (id, type, data) VALUES (?, 'order.created', '{}')"
MEMORY_KIB = 150 * 1024
KEPT_KIB = 14 * 1024
"""Less than one large row more than a reader has by itself."""


@dataclass
class Scene:
    """A daemon with two spools: `spool` is attacked, `sound` must not notice."""

    relayd: RelaydProcess
    receiver: Receiver
    config: Path
    spool: Path
    sound: Path
    events: int = 0

    async def others_go_on(self) -> None:
        """Hand over an event by the sound spool, and see it delivered soon."""
        self.events += 1
        name = f"evt_sound_{self.events}"
        insert(self.sound, name)
        with trio.fail_after(8):
            await self.relayd.logged("attempt_succeeded", event_id=name)

    async def delivers(self, name: str, *, within_s: float = 15) -> None:
        """Hand over an event by the spool that was attacked, and see it delivered.

        As long as SQLite refuses the row, it is tried again, as an application does.
        """
        with trio.fail_after(within_s):
            while True:
                try:
                    execute(self.spool, INSERT, name)
                    break
                except sqlite3.DatabaseError:
                    await trio.sleep(0.5)
        await self.delivered(name, within_s=within_s)

    async def delivered(self, name: str, *, within_s: float = 15) -> None:
        with trio.fail_after(within_s):
            await self.relayd.logged("attempt_succeeded", event_id=name)

    async def waits(self, *words: str, within_s: float = 15) -> str:
        """Return what the spool waits for, once that has these words; the sound one waits not."""
        said = ""
        with trio.move_on_after(within_s):
            while True:
                sources = await self.sources()
                assert sources["spool sound"]["waits_for"] is None
                said = str(sources["spool market"]["waits_for"])
                if all(word in said for word in words):
                    return said
                await trio.sleep(0.1)
        raise AssertionError(f"it waits for: {said}")

    async def sources(self) -> dict[str, dict[str, object]]:
        printed = json.loads(await command("status", "--json", config=self.config))
        return {each["name"]: each for each in printed["sources"]}

    def readers(self) -> list[int]:
        """Return the readers' process numbers."""
        return [each for template in children(self.relayd.pid) for each in children(template)]

    def reader(self, spool: Path) -> int:
        """Return the number of the process that has this spool open."""
        for pid in self.readers():
            for descriptor in Path(f"/proc/{pid}/fd").iterdir():
                if os.path.realpath(descriptor) == str(spool):
                    return pid
        raise AssertionError(f"no reader has {spool} open")


def children(pid: int) -> list[int]:
    return [int(each) for each in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def execute(path: Path, statement: str, *values: object) -> None:
    with closing(sqlite3.connect(path, timeout=20, isolation_level=None)) as db:
        db.execute(statement, values)


@asynccontextmanager
async def scene(
    folder: Path,
    *,
    journal: str = "wal",
    make: bool = True,
    module: str = "relayd",
    env: dict[str, str] | None = None,
    max_size: str = "unlimited",
) -> AsyncIterator[Scene]:
    for name in ("market", "sound"):
        (folder / name).mkdir()
    spool, sound = folder / "market" / "spool.db", make_spool(folder / "sound" / "spool.db")
    if make:
        make_spool(spool)
        execute(spool, f"PRAGMA journal_mode = {journal}")
    spools = {name: {"path": f"{name}/spool.db"} for name in ("market", "sound")}
    async with open_receiver() as receiver:
        config = write_config(
            folder,
            {"books": {"url": receiver.url, "rate_limit": "1000/s"}},
            spools=spools,
            queue={"path": "queue.db", "max_size": max_size},
        )
        async with running(config, module=module, env=env) as relayd:
            it = Scene(relayd, receiver, config, spool, sound)
            await it.others_go_on()
            yield it
            await it.others_go_on()
            assert peak_kib(relayd.pid) < MEMORY_KIB
            helpers = [*children(relayd.pid), *it.readers()]
            began = trio.current_time()
            assert await relayd.stop() == 0
            assert trio.current_time() - began < 8
            assert not any(map(alive, helpers))
            assert "Traceback" not in relayd.errors


def peak_kib(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1])
    raise AssertionError("no peak")


# The file and what SQLite keeps beside it.


@pytest.mark.parametrize("suffix", ["-shm", "-wal", ""])
async def test_a_file_cut_to_nothing_while_it_is_open(tmp_path: Path, suffix: str) -> None:
    async with scene(tmp_path) as it:
        await it.delivers("evt_before")
        os.truncate(f"{it.spool}{suffix}", 0)
        await it.others_go_on()
        if suffix == "":
            for each in ("", "-wal", "-shm"):
                Path(f"{it.spool}{each}").unlink(missing_ok=True)
            make_spool(it.spool)
        await it.delivers("evt_after", within_s=30)


async def test_a_file_overwritten_with_noise_and_then_replaced(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.delivers("evt_before")
        it.spool.write_bytes(os.urandom(64 * 1024))
        Path(f"{it.spool}-wal").write_bytes(os.urandom(64 * 1024))
        await it.others_go_on()
        os.kill(it.reader(it.spool), signal.SIGKILL)
        await it.waits("damaged")
        for each in ("", "-wal", "-shm"):
            Path(f"{it.spool}{each}").unlink(missing_ok=True)
        make_spool(it.spool)
        await it.delivers("evt_after")


async def test_a_spool_replaced_by_a_link_to_another_markets(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        other = make_spool(tmp_path / "other.db")
        insert(other, "evt_of_another_market")
        it.spool.unlink()
        it.spool.symlink_to(other)
        said = await it.waits(f"leads to {other} now", "relayd reload")
        text = await command("spool", "status", config=it.config, status=1)
        assert f"market waits for: {said}" in " ".join(text.split())
        printed = json.loads(await command("spool", "status", "--json", config=it.config, status=1))
        assert {each["name"]: each["waits_for"] for each in printed["spools"]} == {
            "market": said,
            "sound": None,
        }
        await it.others_go_on()
        assert "evt_of_another_market" not in states(tmp_path / "queue.db")


async def test_damaged_names_in_a_schema_that_are_not_utf_8(tmp_path: Path) -> None:
    async with scene(tmp_path, journal="delete") as it:
        execute(it.spool, "CREATE INDEX aaaa ON relayd_spool (type)")
        sound = it.spool.read_bytes()
        damaged = it.spool.with_suffix(".new")
        damaged.write_bytes(sound.replace(b"aaaa", b"\xffa(("))
        damaged.replace(it.spool)
        await it.waits("not UTF-8")
        await it.others_go_on()
        printed = json.loads(await command("spool", "status", "--json", config=it.config, status=1))
        assert any("not UTF-8" in str(each["problem"]) for each in printed["spools"])
        assert it.relayd.events("reader_internal_error") == []


@pytest.mark.parametrize("when", ["at the start", "by a reload"])
async def test_a_link_to_another_markets_spool_takes_no_event_of_it(
    tmp_path: Path, when: str
) -> None:
    for name in ("thief", "owner"):
        (tmp_path / name).mkdir()
    owner, own = (make_spool(tmp_path / name / "spool.db") for name in ("owner", "thief"))

    def link() -> None:
        own.unlink()
        own.symlink_to(owner)

    async with open_receiver() as receiver:
        config = write_config(
            tmp_path,
            {"books": {"url": receiver.url, "rate_limit": "1000/s"}},
            # The first one: that it stands before the owner does not help it.
            spools={
                "thief": {"path": str(own), "market_id": "market_of_the_thief"},
                "owner": {"path": str(owner)},
            },
        )
        if when == "at the start":
            link()
        async with running(config) as relayd:
            if when == "by a reload":
                link()
                await command("reload", config=config)
            await until(
                lambda: any(
                    "the table of spool owner" in line["detail"]
                    for line in relayd.events("source_unavailable")
                ),
                15,
            )
            for number in range(20):
                insert(owner, f"evt_{number}")
            with trio.fail_after(15):
                await relayd.logged("attempt_succeeded", event_id="evt_19")
            with closing(sqlite3.connect(tmp_path / "queue.db")) as db:
                markets = db.execute("SELECT market_id, count(*) FROM events GROUP BY 1").fetchall()
            assert [count for _, count in markets] == [20]
            assert markets[0][0] != "market_of_the_thief"


async def test_a_link_to_the_queue_opens_nothing(tmp_path: Path) -> None:
    spool = tmp_path / "market" / "spool.db"
    spool.parent.mkdir()
    spool.symlink_to(tmp_path / "queue.db")
    config = write_config(tmp_path, spools={"market": {"path": str(spool)}})
    async with running(config) as relayd:
        waits = await relayd.logged("source_unavailable")
        assert "a file of the queue" in waits["detail"]


@pytest.mark.parametrize("what", ["file", "folder"])
async def test_a_link_is_followed_as_it_was_when_the_configuration_was_read(
    tmp_path: Path, what: str
) -> None:
    (tmp_path / "first").mkdir()
    (tmp_path / "second").mkdir()
    first, second = (make_spool(tmp_path / name / "spool.db") for name in ("first", "second"))
    link = tmp_path / ("link.db" if what == "file" else "link")
    link.symlink_to(first if what == "file" else first.parent)
    path = link if what == "file" else link / "spool.db"
    async with open_receiver() as receiver:
        config = write_config(
            tmp_path,
            {"books": {"url": receiver.url, "rate_limit": "1000/s"}},
            spools={"market": {"path": str(path)}},
        )
        async with running(config) as relayd:
            insert(first, "evt_1")
            await relayd.logged("attempt_succeeded", event_id="evt_1")
            began = trio.current_time()
            insert(first, "evt_2")
            await relayd.logged("attempt_succeeded", event_id="evt_2")
            assert trio.current_time() - began < 0.7, "a link costs no waiting"
            insert(second, "evt_3")
            link.unlink()
            link.symlink_to(second if what == "file" else second.parent)
            waits = await relayd.logged("source_unavailable")
            assert f"leads to {second} now" in waits["detail"]
            assert "evt_3" not in states(tmp_path / "queue.db")
            await command("reload", config=config)
            with trio.fail_after(10):
                await relayd.logged("attempt_succeeded", event_id="evt_3")


async def test_a_folder_that_goes_away_and_comes_back_as_another_one(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        folder = it.spool.parent
        folder.rename(tmp_path / "away")
        await it.waits("not there")
        await it.others_go_on()
        folder.mkdir()
        make_spool(it.spool)
        await it.delivers("evt_new")
        shutil.rmtree(folder)
        (tmp_path / "away").rename(folder)
        await it.delivers("evt_old")


async def test_a_spool_in_a_folder_that_is_made_later(tmp_path: Path) -> None:
    async with scene(tmp_path, make=False) as it:
        await it.waits("is not there", "relayd spool create")
        it.spool.parent.rmdir()
        await trio.sleep(1.5)
        it.spool.parent.mkdir()
        make_spool(it.spool)
        await it.delivers("evt_1")


# A rollback journal that has SQLite delete a file.


def hot_journal(spool: Path, names: Path) -> bytes:
    """Return a rollback journal that changes nothing of a spool, and names a super-journal."""
    pages = spool.stat().st_size // 4096
    magic = bytes.fromhex("d9d505f920a163d7")
    head = (magic + struct.pack(">IIIII", 0, 0, pages, 512, 4096)).ljust(512, b"\0")
    name = os.fsencode(names)
    locking_page = struct.pack(">I", 0x40000000 // 4096 + 1)
    return head + locking_page + name + struct.pack(">II", len(name), sum(name)) + magic


@needs_deleting_sqlite
def test_sqlite_deletes_the_file_that_a_hot_journal_names(tmp_path: Path) -> None:
    # The control: what the tests below exclude does happen without relayd.
    spool, victim = make_spool(tmp_path / "spool.db"), tmp_path / "victim"
    execute(spool, "PRAGMA journal_mode = delete")
    victim.write_text("what somebody needs")
    Path(f"{spool}-journal").write_bytes(hot_journal(spool, victim))
    with closing(sqlite3.connect(spool)) as db:
        db.execute("SELECT count(*) FROM relayd_spool").fetchone()
    assert not victim.exists()


@pytest.mark.parametrize("module", ["relayd", "faults.unconfined"])
@pytest.mark.parametrize("journal", ["delete", "wal"])
async def test_a_hot_journal_that_names_the_queue_deletes_nothing(
    tmp_path: Path, module: str, journal: str
) -> None:
    async with scene(tmp_path, journal=journal, module=module) as it:
        await it.delivers("evt_before")
        queue = tmp_path / "queue.db"
        Path(f"{it.spool}-journal").write_bytes(hot_journal(it.spool, queue))
        execute_quietly(it.sound)
        await it.waits("queue.db", "transaction over several databases")
        await it.others_go_on()
        assert queue.exists()
        confined = (await it.sources())["spool market"]["confined"]
        assert confined is (module == "relayd")
        Path(f"{it.spool}-journal").unlink()
        await it.delivers("evt_after")
        assert queue.exists()


def is_empty(spool: Path) -> bool:
    with closing(sqlite3.connect(spool, timeout=20, isolation_level=None)) as db:
        return db.execute("SELECT count(*) FROM relayd_spool").fetchall() == [(0,)]


def execute_quietly(path: Path) -> None:
    execute(path, "PRAGMA user_version")


@needs_deleting_sqlite
async def test_a_journal_whose_check_is_outrun_deletes_nothing_where_it_is_confined(
    tmp_path: Path,
) -> None:
    # relayd looks at the journal, and it is replaced before SQLite does: Landlock holds.
    async with scene(tmp_path, journal="delete", module="faults.unchecked_journals") as it:
        await it.delivers("evt_before")
        # Not into a transaction of the reader's own: its commit would remove the journal.
        await until(lambda: is_empty(it.spool))
        victim = tmp_path / "queue.db"
        before = victim.stat().st_ino
        journal = Path(f"{it.spool}-journal")
        journal.write_bytes(hot_journal(it.spool, victim))
        # SQLite rolls the journal back and deletes it, and fails once, at the file that it names.
        with trio.fail_after(15):
            waits = await it.relayd.logged("source_unavailable")
        assert "unable to open database file" in waits["detail"]
        assert not journal.exists()
        assert victim.stat().st_ino == before
        await it.delivers("evt_after")


# The schema, changed after it was opened.


ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n"


@pytest.mark.parametrize(
    "statement",
    [
        f"CREATE TRIGGER t BEFORE DELETE ON relayd_spool BEGIN {ENDLESS}; END",
        "CREATE TRIGGER t BEFORE DELETE ON relayd_spool BEGIN SELECT RAISE(IGNORE); END",
        "ALTER TABLE relayd_spool RENAME TO another",
        "ALTER TABLE relayd_spool RENAME COLUMN data TO payload",
    ],
)
async def test_a_schema_changed_after_opening(tmp_path: Path, statement: str) -> None:
    async with scene(tmp_path) as it:
        await it.delivers("evt_before")
        execute(it.spool, statement)
        await it.waits("relayd_spool")
        await it.others_go_on()


async def test_an_index_on_an_endless_expression(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.delivers("evt_before")
        endless = "x'00' < hex(zeroblob(200000000)) || hex(zeroblob(200000000))"
        with closing(sqlite3.connect(it.spool, timeout=20, isolation_level=None)) as db:
            db.execute("CREATE INDEX i ON relayd_spool (type)")
            db.execute("PRAGMA writable_schema = ON")
            db.execute(
                "UPDATE sqlite_schema SET sql = ? WHERE name = 'i'",
                (f"CREATE INDEX i ON relayd_spool ({endless})",),
            )
            db.execute("PRAGMA schema_version = 9999")
        await it.others_go_on()
        await trio.sleep(3)
        await it.others_go_on()


# Values.


@pytest.mark.timeout(300)  # 600 MB pass through it
async def test_values_that_escape_the_size_limits(tmp_path: Path) -> None:
    async with scene(tmp_path, make=False) as it:
        execute(
            it.spool,
            "CREATE TABLE relayd_spool (seq INTEGER PRIMARY KEY AUTOINCREMENT, id, type, data,"
            " created, market_id, api_version)",
        )
        with closing(sqlite3.connect(it.spool, timeout=20, isolation_level=None)) as db:
            db.execute("BEGIN IMMEDIATE")
            for number in range(40):
                db.execute(
                    "INSERT INTO relayd_spool (id, type, data, created)"
                    " VALUES (?, 'order.created', '{}', randomblob(15000000))",
                    (f"evt_{number}",),
                )
            db.execute("INSERT INTO relayd_spool (id, type, data) VALUES ('evt_x', 'a.b', '{}')")
            db.execute("COMMIT")
        await it.others_go_on()
        await it.delivered("evt_x", within_s=240)
        assert len(it.relayd.events("input_rejected")) == 40
        # It may be reading rows still, to delete them: then it keeps none of them.
        await until(lambda: is_empty(it.spool))
        await until(lambda: all(kib(pid) < KEPT_KIB for pid in it.readers()))
        assert all(peak_kib(pid) < MEMORY_KIB for pid in it.readers())


async def test_rejected_input_of_one_spool_fills_no_disk_and_costs_no_other_spool_its_own(
    tmp_path: Path,
) -> None:
    async with scene(tmp_path, max_size="200MB") as it:
        insert_bad = (
            "INSERT INTO relayd_spool (id, type, data) VALUES (?, 'no type', json_quote(?))"
        )
        execute(it.sound, insert_bad, "evt_mine", "m" * 500_000)
        await it.relayd.logged("input_rejected", source="spool sound")
        for number in range(60):
            execute(it.spool, insert_bad, f"evt_{number}", "x" * 1_000_000)
        await it.delivers("evt_after", within_s=60)
        await until(lambda: len(it.relayd.events("input_rejected")) == 61)
        removed = it.relayd.events("rejected_removed")
        assert {each["source"] for each in removed} == {"spool market"}
        assert {each["max_bytes"] for each in removed} == {10_000_000}
        listed = json.loads(await command("rejected", "list", "--json", config=it.config))
        sources = [each["source"] for each in listed["rejected"]]
        assert sources.count("spool sound") == 1
        assert sources.count("spool market") == 9
        [counted] = listed["removed"]
        assert (counted["source"], counted["count"]) == ("spool market", 51)
        status = json.loads(await command("status", "--json", config=it.config))
        assert status["queue"]["rejected_removed"] == listed["removed"]
        assert status["queue"]["size_bytes"] < 40_000_000
        for words in (("rejected", "list"), ("status",)):
            text = " ".join((await command(*words, config=it.config)).split())
            assert "spool market: rejected input took more room than one source may have" in text
            assert "51 rows, 51 MB (invalid_type 51)" in text


def kib(pid: int) -> int:
    [line] = [
        line
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        if line.startswith("Pss:")
    ]
    return int(line.split()[1])


# The processes.


async def test_a_reader_that_is_killed_is_started_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.delivers("evt_before")
        os.kill(it.reader(it.spool), signal.SIGKILL)
        ended = await it.relayd.logged("reader_exited", source="spool market")
        assert "SIGKILL" in ended["detail"]
        await it.others_go_on()
        await it.delivers("evt_after")


async def test_a_reader_that_stands_still_is_killed(tmp_path: Path) -> None:
    async with scene(tmp_path, module="faults.impatient") as it:
        await it.delivers("evt_before")
        os.kill(it.reader(it.spool), signal.SIGSTOP)
        with trio.fail_after(15):
            ended = await it.relayd.logged("reader_exited", source="spool market")
        assert "said nothing" in ended["detail"]
        await it.delivers("evt_after")


async def test_sigterm_ends_the_daemon_beside_a_reader_that_stands_still(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.delivers("evt_before")
        os.kill(it.reader(it.spool), signal.SIGSTOP)


async def test_a_template_that_is_killed_is_started_again(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.delivers("evt_before")
        [template] = children(it.relayd.pid)
        readers = it.readers()
        os.kill(template, signal.SIGKILL)
        await until(lambda: not any(map(alive, readers)))
        await it.relayd.logged("reader_template_exited")
        await it.delivers("evt_after")
        await until(lambda: len(it.readers()) == 2)


async def test_nothing_is_left_when_the_daemon_is_killed(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.delivers("evt_before")
        processes = [*children(it.relayd.pid), *it.readers()]
        assert len(processes) == 3
        os.kill(it.reader(it.sound), signal.SIGSTOP)
        async with running_copy(it) as relayd:
            others = [*children(relayd.pid)]
            relayd.signal(signal.SIGKILL)
            await relayd.wait()
            await until(lambda: not any(map(alive, others)))
        os.kill(it.reader(it.sound), signal.SIGCONT)


@asynccontextmanager
async def running_copy(it: Scene) -> AsyncIterator[RelaydProcess]:
    """Run another daemon on a queue of its own, whose reader stands still."""
    folder = it.config.parent / "copy"
    folder.mkdir()
    spool = make_spool(folder / "spool.db")
    config = write_config(folder, {"books": {"url": it.receiver.url}})
    async with running(config) as relayd:
        await until(lambda: bool(children(relayd.pid)) and bool(readers_of(relayd.pid)))
        for pid in readers_of(relayd.pid):
            os.kill(pid, signal.SIGSTOP)
        assert spool.exists()
        yield relayd


def readers_of(pid: int) -> list[int]:
    return [each for template in children(pid) for each in children(template)]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


async def test_signals_to_all_processes_leave_the_readers_to_the_daemon(tmp_path: Path) -> None:
    async with scene(tmp_path) as it:
        await it.delivers("evt_before")
        helpers = [*children(it.relayd.pid), *it.readers()]
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            for pid in helpers:
                os.kill(pid, number)
        await it.delivers("evt_after")
        assert [*children(it.relayd.pid), *it.readers()] == helpers
        assert not it.relayd.events("reader_exited")


async def test_a_defect_of_the_daemons_part_stays_with_its_spool(tmp_path: Path) -> None:
    async with scene(tmp_path, module="faults.spool_defect") as it:
        execute(it.spool, INSERT, "evt_defect")
        said = await it.relayd.logged("spool_internal_error", source="spool market")
        assert "RuntimeError" in json.dumps(said["exception"])
        await it.waits("a defect in relayd")
        await it.others_go_on()


@needs_root
async def test_fifty_spools_take_little_memory(tmp_path: Path) -> None:
    paths = []
    for number in range(50):
        (tmp_path / f"s{number}").mkdir()
        paths.append(make_spool(tmp_path / f"s{number}" / "spool.db"))
        insert(paths[-1], f"evt_{number}")
    spools = {f"s{number}": {"path": str(path)} for number, path in enumerate(paths)}
    async with open_receiver() as receiver:
        config = write_config(
            tmp_path, {"books": {"url": receiver.url, "rate_limit": "1000/s"}}, spools=spools
        )
        async with running(config) as relayd:
            with trio.fail_after(40):
                for number in range(50):
                    await relayd.logged("attempt_succeeded", event_id=f"evt_{number}")
            readers = readers_of(relayd.pid)
            assert len(readers) == 50
            assert max(map(kib, readers)) < 10 * 1024
            [template] = children(relayd.pid)
            assert kib(template) < 30 * 1024
            assert peak_kib(relayd.pid) < MEMORY_KIB
            assert await relayd.stop() == 0
            assert not any(map(alive, [template, *readers]))
