"""Power loss, replayed: what the disk holds when everything that was not synced is gone.

SIGKILL cannot show it, since the kernel keeps what a process wrote. So relayd's writes and syncs are
recorded, and the queue's files are built anew from those that were synced, with none or some of
the others: at each moment the queue must be sound, and hold what its producers were told it holds.
"""

import random
import re
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import trio
from faults.injection import needs_strace, traced
from faults.producing import producer
from processes import running, write_config
from receivers import open_receiver

pytestmark = needs_strace

_WRITE = re.compile(r'^pwrite64\(\d+<([^>]*)>, "([^"]*)", \d+, (\d+)')
_SYNC = re.compile(r"^f(?:data)?sync\(\d+<([^>]*)>")
_CUT = re.compile(r"^ftruncate\(\d+<([^>]*)>, (\d+)")
_RESUMED = re.compile(r"^<\.\.\. f(?:data)?sync resumed")
_UNLINK = re.compile(r'^unlink\("([^"]*)"')
_SENT = re.compile(r'^sendto\(\d+<[^>]*>, "([^"]*)"')
_SECTOR = 512


@dataclass(frozen=True, slots=True)
class Change:
    """A write at `offset`, or (without data) a file cut to `offset` bytes."""

    offset: int
    data: bytes | None

    def apply(self, file: bytearray) -> None:
        if self.data is None:
            del file[self.offset :]
            return
        if len(file) < self.offset:
            file.extend(bytes(self.offset - len(file)))
        file[self.offset : self.offset + len(self.data)] = self.data


@dataclass(slots=True)
class Disk:
    """Files as the disk surely holds them, and the changes that it may or may not hold."""

    synced: dict[str, bytearray] = field(default_factory=dict)
    pending: dict[str, list[Change]] = field(default_factory=dict)

    def change(self, path: str, change: Change) -> None:
        self.pending.setdefault(path, []).append(change)

    def sync(self, path: str) -> None:
        file = self.synced.setdefault(path, bytearray())
        for change in self.pending.pop(path, []):
            change.apply(file)

    def after_power_loss(self, chosen: random.Random | None) -> dict[str, bytes]:
        """Return the files with none of the pending changes, or with some, torn at sectors."""
        files = {path: bytearray(content) for path, content in self.synced.items()}
        if chosen is not None:
            for path, changes in self.pending.items():
                for change in changes:
                    for part in _sectors(change):
                        if chosen.random() < 0.5:
                            part.apply(files.setdefault(path, bytearray()))
        return {path: bytes(content) for path, content in files.items()}


def _sectors(change: Change) -> Iterator[Change]:
    if change.data is None:
        yield change
        return
    for begin in range(0, len(change.data), _SECTOR):
        yield Change(change.offset + begin, change.data[begin : begin + _SECTOR])


@dataclass(frozen=True, slots=True)
class Moment:
    """What a power loss leaves, and the events whose producers had been told."""

    told: frozenset[str]
    files: Mapping[str, bytes]


def moments(trace: Path, queue: Path, seed: int) -> Iterator[Moment]:
    """Replay a trace; yield what a power loss would leave before and after each sync."""
    chosen = random.Random(seed)
    names = {str(queue), f"{queue}-wal", f"{queue}-journal"}
    disk = Disk()
    syncing: dict[str, str] = {}
    told: set[str] = set()
    for line in trace.read_text().splitlines():
        thread, _, call = line.partition(" ")
        call = call.strip()
        if (match := _WRITE.match(call)) and _text(match[1]) in names:
            disk.change(_text(match[1]), Change(int(match[3]), _bytes(match[2])))
        elif (match := _CUT.match(call)) and _text(match[1]) in names:
            disk.change(_text(match[1]), Change(int(match[2]), None))
        elif (match := _UNLINK.match(call)) and _text(match[1]) in names:
            disk.synced.pop(_text(match[1]), None)
            disk.pending.pop(_text(match[1]), None)
        elif (match := _SYNC.match(call)) and (path := _text(match[1])) in names:
            yield Moment(frozenset(told), disk.after_power_loss(None))
            yield Moment(frozenset(told), disk.after_power_loss(chosen))
            if call.endswith("<unfinished ...>"):
                syncing[thread] = path
            else:
                disk.sync(path)
        elif _RESUMED.match(call) and thread in syncing:
            disk.sync(syncing.pop(thread))
        elif match := _SENT.match(call):
            told |= set(re.findall(r'"ok":true,"id":"(\w+)"', _text(match[1])))
            yield Moment(frozenset(told), disk.after_power_loss(None))


def _bytes(shown: str) -> bytes:
    """Read what strace shows with -xx."""
    return bytes.fromhex(shown.replace("\\x", ""))


def _text(shown: str) -> str:
    return _bytes(shown).decode("latin-1")


def lost(moment: Moment, queue: Path, folder: Path) -> set[str]:
    """Return the events that were told of and are not there after a power loss."""
    if not moment.files.get(str(queue)):
        return set(moment.told)
    folder.mkdir()
    for path, content in moment.files.items():
        (folder / Path(path).name).write_bytes(content)
    with closing(sqlite3.connect(folder / queue.name)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema")}
        if "events" not in tables:
            return set(moment.told)
        found = {event_id for (event_id,) in db.execute("SELECT id FROM events")}
        deliveries = db.execute(
            "SELECT count(*) FROM events e LEFT JOIN deliveries d ON d.event_seq = e.seq"
            " WHERE d.seq IS NULL"
        ).fetchone()
        assert deliveries == (0,), "an event without its deliveries"
    return set(moment.told) - found


@dataclass(frozen=True, slots=True)
class Losses:
    """What the moments of a power loss showed of the events that producers had been told of.

    `missing` were not there at one moment at least, `present` were there at one at least.
    """

    told: frozenset[str]
    missing: frozenset[str]
    present: frozenset[str]


async def losses(tmp_path: Path, module: str) -> Losses:
    """Run relayd, and lose power at many moments."""
    trace = tmp_path / "trace"
    state = tmp_path / "state"
    state.mkdir()
    calls = ["pwrite64", "fdatasync", "fsync", "ftruncate", "unlink", "sendto"]
    async with open_receiver() as receiver:
        config = write_config(
            state, {"books": {"url": receiver.url, "rate_limit": "1000/s"}}, spools=None
        )
        async with running(
            config, under=traced(trace, "-xx", calls=calls), module=module
        ) as relayd:
            async with producer(state) as each:
                for number in range(90):
                    # Large enough that the -wal is checkpointed, and begun anew, meanwhile.
                    answer = await each.hand_over(f"evt_{number}", filler="x" * 50_000)
                    assert answer["ok"]
            with trio.fail_after(30):
                await relayd.logged("attempt_succeeded", event_id="evt_89")
    queue = state / "queue.db"
    missing: set[str] = set()
    present: set[str] = set()
    every = list(moments(trace, queue, seed=1))
    for number, moment in enumerate(every):
        if number % 5 == 0 or number == len(every) - 1:
            gone = lost(moment, queue, tmp_path / f"moment_{number}")
            missing |= gone
            present |= moment.told - gone
    return Losses(every[-1].told, frozenset(missing), frozenset(present))


@pytest.mark.timeout(180)
async def test_a_power_loss_loses_nothing_that_was_acknowledged(tmp_path: Path) -> None:
    found = await losses(tmp_path, "relayd")
    assert len(found.told) == 90
    assert found.missing == set()
    assert found.present == found.told


@pytest.mark.timeout(180)
async def test_the_replay_finds_what_unsynced_answers_lose(tmp_path: Path) -> None:
    found = await losses(tmp_path, "faults.answers_early")
    assert len(found.told) == 90
    assert found.missing
    # What a checkpoint has synced since is there: the replay loses nothing by itself.
    assert found.present
