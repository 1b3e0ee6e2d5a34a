"""The operator: reloads and commands, at any time, whatever else happens to relayd.

Each is asked for until it is answered, since relayd may be killed meanwhile; what is done twice
then is done once. What was said, and when it was answered, goes into the run's `Timeline`.
"""

import json
import random
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from torture.configuration import IN_FLIGHT, LAST, OPERATED, PLACES, RATES, ConfigFile, Layout
from torture.observation import reading
from torture.plan import Act, Operation
from torture.recording import PAYLOAD, Produced, event_type
from torture.timeline import Cancellation, Change, Timeline

from relayd.control import NoDaemonError, connected

PATIENCE_S = 240.0
"""How long the operator asks again, while relayd is killed, stopped, or its disk is full."""

AT_ONCE = 200
"""Deliveries in one command."""

_LATER = frozenset({"unavailable", "failed", "configuration"})
"""Refusals that pass: the queue cannot be written, it starts or stops, the file is the bad one."""


class Operator(threading.Thread):
    """Acts by a plan until `stopping` is set; then `settle` has everything go on."""

    def __init__(
        self,
        operations: Sequence[Operation],
        *,
        file: ConfigFile,
        spool: Path,
        produced: Produced,
        timeline: Timeline,
    ) -> None:
        super().__init__(name="operator", daemon=True)
        self.stopping = threading.Event()
        self.done: Counter[Act] = Counter()
        self.troubles: list[str] = []
        self._operations = operations
        self._file = file
        self._control = Path(f"{file.queue}.control")
        self._spool = spool
        self._produced = produced
        self._timeline = timeline
        self._rows = 0

    def run(self) -> None:
        while self._operations:
            for operation in self._operations:
                if self.stopping.wait(operation.wait_s):
                    return
                try:
                    self._act(operation.act, random.Random(operation.seed))
                except Exception as error:  # noqa: BLE001 - the report has it
                    self.troubles.append(f"{operation.act.value}: {error!r}")
                self.done[operation.act] += 1

    def settle(self) -> None:
        """Have everything go on that was stopped, given up or never made, without limits."""
        self.reload(LAST)
        for name in OPERATED:
            self._hold(name, paused=False)

    def send_again(self, *, with_backfill: bool) -> None:
        """Replay what was cancelled or exhausted, and make what an inactive subscription lacks."""
        for name in OPERATED:
            if with_backfill:
                self._backfill(name, limit=10**9)
            self._replay(name, limit=10**9)

    def _act(self, act: Act, chosen: random.Random) -> None:
        name = chosen.choice(list(OPERATED))
        actions: dict[Act, Callable[[], object]] = {
            Act.MOVE: lambda: self.reload(moved(self._file.layout, chosen)),
            Act.LIMIT: lambda: self.reload(_limited(self._file.layout, chosen)),
            Act.IN_FLIGHT: lambda: self.reload(_in_flight(self._file.layout, chosen)),
            Act.ACTIVE: lambda: self.reload(_activated(self._file.layout, name, chosen)),
            Act.PAUSE: lambda: self._hold(name, paused=True),
            Act.RESUME: lambda: self._resume(_some(chosen)),
            Act.CANCEL: lambda: self._cancel(name, chosen.choice([1, 20, AT_ONCE])),
            Act.REPLAY: lambda: self._replay(name, limit=chosen.choice([1, 50, 1000])),
            Act.RETRY: lambda: self._retry(name, chosen.choice([1, 20, AT_ONCE])),
            Act.BACKFILL: lambda: self._backfill(name, limit=500),
            Act.TEST: lambda: self._test(name),
            Act.RESUBMIT: lambda: self._resubmit(chosen),
            Act.COMMAND_LINE: lambda: self._command_line(name, chosen),
        }
        actions[act]()

    def reload(self, layout: Layout) -> None:
        """Put a layout into the file, and have relayd read it."""
        with self._file.lock:
            change = self._timeline.layouts.begin(layout, time.monotonic())
            self._file.layout = layout
            self._file.write()
        if self._ask("reload"):
            change.settled = time.monotonic()

    def _hold(self, name: str, *, paused: bool) -> None:
        change = self._timeline.paused[name].begin(paused, time.monotonic())
        if self._ask("pause" if paused else "resume", subscription=name):
            change.settled = time.monotonic()

    def _resume(self, names: Sequence[str]) -> None:
        for name in names:
            self._hold(name, paused=False)

    def _cancel(self, name: str, count: int) -> None:
        # Those that are due first, since they may be starting now.
        asked = self._deliveries(name, "due_at IS NOT NULL ORDER BY due_at", count)
        if not asked:
            return
        answer = self._ask("cancel", deliveries=asked)
        answered = time.monotonic()
        if not answer:
            return
        with reading(self._file.queue) as db:
            rows = db.execute(
                "SELECT seq FROM deliveries WHERE state = 'cancelled'"
                " AND seq IN (SELECT value FROM json_each(?))",
                (json.dumps(asked),),
            )
            cancelled = frozenset(seq for (seq,) in rows)
        self._timeline.cancellations.append(
            Cancellation(answered, frozenset(asked), answer["in_flight"], cancelled, name)
        )

    def _retry(self, name: str, count: int) -> None:
        # Those whose time is farthest away, and some that may be in flight.
        asked = self._deliveries(name, "due_at IS NOT NULL ORDER BY due_at DESC", count)
        if asked:
            self._ask("retry", deliveries=asked)

    def _replay(self, name: str, *, limit: int) -> None:
        seqs = self._deliveries(name, "state IN ('cancelled', 'exhausted') ORDER BY seq", limit)
        for begin in range(0, len(seqs), AT_ONCE):
            some = seqs[begin : begin + AT_ONCE]
            for seq in some:
                self._timeline.replayed[seq].append(time.monotonic())
            self._ask("replay", deliveries=some)

    def _backfill(self, name: str, *, limit: int) -> None:
        types = ", ".join(f"'{each}'" for each in OPERATED[name])
        with reading(self._file.queue) as db:
            rows = db.execute(
                f"SELECT seq FROM events e WHERE type IN ({types}) AND body IS NOT NULL"
                " AND NOT EXISTS (SELECT 1 FROM deliveries d JOIN subscriptions s"
                " ON s.id = d.subscription_id WHERE d.event_seq = e.seq AND s.name = ?) LIMIT ?",
                (name, limit),
            )
            seqs = [seq for (seq,) in rows]
        for begin in range(0, len(seqs), AT_ONCE):
            self._ask("backfill", subscription=name, events=seqs[begin : begin + AT_ONCE])

    def _test(self, name: str) -> None:
        # Each time that it is asked for, one may be sent, answered or not.
        self._ask("test", subscription=name, before=lambda: self._count_test(name))

    def _count_test(self, name: str) -> None:
        self._timeline.tests[name] += 1

    def _resubmit(self, chosen: random.Random) -> None:
        """Make a row that is rejected, and resubmit one that was, under two ids at once."""
        self._rows += 1
        row_id = f"evt_rejected_{self._rows}_{chosen.choice('py')}"
        with closing(sqlite3.connect(self._spool, timeout=30)) as db, db:
            db.execute(
                "INSERT INTO relayd_spool (id, type, data) VALUES (?, ?, '[]')",
                (row_id, event_type(row_id)),
            )
        # The new one is there as soon as relayd runs; until then there are older ones.
        self.stopping.wait(0.1)
        with reading(self._file.queue) as db:
            rows = db.execute("SELECT seq, id FROM rejected ORDER BY seq DESC LIMIT 1").fetchall()
        for seq, found in rows:
            self._resubmit_twice(seq, found.decode())

    def _resubmit_twice(self, seq: int, row_id: str) -> None:
        number, letter = row_id.split("_")[-2:]
        ids = tuple(f"evt_operator_{number}{half}_{letter}" for half in "ab")
        self._produced.resubmitted[int(number)] = ids
        data = json.dumps({"object": {"id": row_id, "name": PAYLOAD}})
        both = [
            threading.Thread(
                target=self._ask,
                args=("resubmit",),
                kwargs={"rejected": seq, "changes": {"id": each, "data": data}},
            )
            for each in ids
        ]
        for thread in both:
            thread.start()
        for thread in both:
            thread.join()

    def _command_line(self, name: str, chosen: random.Random) -> None:
        command = chosen.choice(["pause", "resume", "cancel", "replay", "test", "reload", "status"])
        more = {
            "cancel": [name, "--state", "pending", "--yes"],
            "replay": [name, "--state", "cancelled", "--yes"],
            "reload": [],
            "status": [],
        }.get(command, [name])
        change: Change[bool] | None = None
        if command in ("pause", "resume"):
            change = self._timeline.paused[name].begin(command == "pause", time.monotonic())
        if command == "replay":
            self._timeline.all_replayed[name].append(time.monotonic())
        if command == "test":
            self._timeline.tests[name] += 1
        done = subprocess.run(
            [sys.executable, "-m", "relayd", command, *more, "--config", str(self._file.path)],
            cwd=Path(__file__).parents[2],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
        if "Traceback" in done.stderr:
            self.troubles.append(f"relayd {command}: {done.stderr[-400:]}")
        if change is not None and (done.returncode == 0 or self._ask(command, subscription=name)):
            change.settled = time.monotonic()

    def _deliveries(self, name: str, condition: str, limit: int) -> list[int]:
        with reading(self._file.queue) as db:
            rows = db.execute(
                "SELECT seq FROM deliveries WHERE subscription_id ="
                f" (SELECT id FROM subscriptions WHERE name = ?) AND {condition} LIMIT ?",
                (name, limit),
            )
            return [seq for (seq,) in rows]

    def _ask(
        self, command: str, *, before: Callable[[], object] = lambda: None, **arguments: object
    ) -> Mapping[str, Any]:
        """Ask until it is done, or refused for good; return the answer, empty when refused."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            try:
                with connected(self._control) as daemon:
                    before()
                    answer = daemon.answer({"command": command, **arguments}, timeout_s=120.0)
            except (NoDaemonError, OSError):
                time.sleep(0.03)
                continue
            if answer.get("ok"):
                return answer
            if answer.get("code") == "defect":
                self.troubles.append(f"{command}: {answer}")
            if answer.get("code") not in _LATER:
                return {}
            time.sleep(0.05)
        self.troubles.append(f"{command} was not answered within {PATIENCE_S} s")
        return {}


def moved(layout: Layout, chosen: random.Random) -> Layout:
    """Return a layout with subscriptions at other places: one moved, two swapped, all merged or split."""
    url = dict(layout.url)
    one, two = chosen.sample(list(OPERATED), 2)
    match chosen.choice(["move", "swap", "merge", "join", "split"]):
        case "move":
            url[one] = chosen.choice(PLACES)
        case "swap":
            url[one], url[two] = url[two], url[one]
        case "merge":
            url = dict.fromkeys(OPERATED, chosen.choice(PLACES))
        case "join":
            url[one] = url[two]
        case "split":
            url = dict(zip(OPERATED, chosen.sample(PLACES, len(OPERATED)), strict=True))
    return replace(layout, url=url)


def _limited(layout: Layout, chosen: random.Random) -> Layout:
    return replace(layout, rate={**layout.rate, chosen.choice(PLACES): chosen.choice(RATES)})


def _in_flight(layout: Layout, chosen: random.Random) -> Layout:
    place, most = chosen.choice(PLACES), chosen.choice(IN_FLIGHT)
    return replace(layout, in_flight={**layout.in_flight, place: most})


def _activated(layout: Layout, name: str, chosen: random.Random) -> Layout:
    # Mostly active: there must be something to send.
    active = {each: layout.active[each] or chosen.random() < 0.7 for each in OPERATED}
    return replace(layout, active={**active, name: not layout.active[name]})


def _some(chosen: random.Random) -> Sequence[str]:
    return chosen.sample(list(OPERATED), chosen.randint(1, len(OPERATED)))
