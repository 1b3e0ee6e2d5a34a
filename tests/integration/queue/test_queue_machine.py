"""The queue against a simple model of it, through whatever order of events, crashes and reloads."""

import shutil
import sqlite3
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from events import make_event
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from relayd.core.acceptance import Acceptance, NewEvent
from relayd.core.delivery import WAITING, Change, Delivery, State, decide, origins
from relayd.core.outcome import Failure, Outcome
from relayd.core.release import Extra, released_by, seen_after
from relayd.queue.sqlite import accept, claim, operate, record, subscriptions
from relayd.queue.sqlite.numbers import Numbers
from relayd.queue.sqlite.schema import migrate, read_version
from relayd.queue.values import Declared, Recording, Want

SCHEDULE = (10.0, 60.0)
URLS = {"books": "https://a.example/", "mail": "https://a.example/", "shop": "https://b.example/"}
OUTCOMES = {
    "ok": Outcome(0.1, status=200),
    "failed": Outcome(0.1, status=500, failure=Failure.STATUS, detail="answered 500"),
    "later": Outcome(0.1, status=503, failure=Failure.STATUS, retry_after_s=300.0),
    "gone": Outcome(0.1, status=410, failure=Failure.STATUS),
}


@dataclass(frozen=True)
class Model:
    """What the model knows of a delivery."""

    event_id: str
    subscription: str
    state: State = State.PENDING
    attempts: int = 0
    step: int = 0
    scheduled_at: float = 0.0
    due_at: float | None = 0.0
    release_seen: int = 0
    recovery_used: bool = False


class QueueMachine(RuleBasedStateMachine):
    """Each rule does one thing to the queue and to the model; then both must agree."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(prefix="relayd-machine-"))
        self.now = 1_700_000_000.0
        self.digests: dict[str, bytes] = {}
        self.model: dict[int, Model] = {}
        self.in_flight: dict[int, tuple[Delivery, int]] = {}  # and the newest release at its start
        self.active: set[str] = set()
        self.gone: set[str] = set()
        self.recovery = 0
        self.operator = dict.fromkeys(URLS, 0)
        self.db = self.opened()
        self.db.execute("BEGIN IMMEDIATE")
        migrate(self.db, read_version(self.db), "tag")
        self.db.execute("COMMIT")
        self.numbers = Numbers.read(self.db)

    def opened(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.folder / "queue.db", isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = OFF")  # a crash here is one of the process alone
        return db

    def teardown(self) -> None:
        self.db.close()
        shutil.rmtree(self.folder)

    @initialize(names=st.sets(st.sampled_from(sorted(URLS)), min_size=1))
    def start(self, names: set[str]) -> None:
        self.reload(names)

    @rule(names=st.sets(st.sampled_from(sorted(URLS))))
    def reload(self, names: set[str]) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        declared = [Declared(name, URLS[name], active=True) for name in sorted(names)]
        found = subscriptions.declare(self.db, declared, release=self.numbers.release, now=self.now)
        self.db.execute("COMMIT")
        self.ids = {name: number for name, (number, _) in found.items()}
        self.active = names
        held = {name for name, (_, hold) in found.items() if hold is not None}
        assert held == (self.ids.keys() - names) | (self.gone & self.ids.keys())

    @rule(
        numbers=st.lists(st.integers(0, 12), min_size=1, max_size=5),
        other=st.booleans(),
        data=st.data(),
    )
    def accept(self, numbers: list[int], other: bool, data: st.DataObject) -> None:
        wanted = data.draw(st.sets(st.sampled_from(sorted(self.active)))) if self.active else ()
        news = [
            NewEvent(
                make_event(f"evt_{number}", data={"object": {"other": other}}),
                "socket",
                tuple(sorted(wanted)),
            )
            for number in numbers
        ]
        first = self.numbers.delivery
        self.db.execute("BEGIN IMMEDIATE")
        results = accept.accept(
            self.db, news, now=self.now, numbers=self.numbers, subscription_ids=self.ids
        )
        self.db.execute("COMMIT")
        for new, result in zip(news, results, strict=True):
            event = new.event
            known = self.digests.get(event.id)
            if known is None:
                assert result is Acceptance.ACCEPTED
                self.digests[event.id] = event.digest
                for name in new.subscriptions:
                    self.model[first] = Model(
                        event.id, name, scheduled_at=self.now, due_at=self.now
                    )
                    first += 1
            else:
                same = known == event.digest
                assert result is (Acceptance.DUPLICATE if same else Acceptance.CONFLICT)

    @rule(fails=st.booleans())
    def recover(self, fails: bool) -> None:
        """The endpoints have recovered, or fail again, which takes that back."""
        self.numbers.release += 1
        self.recovery = 0 if fails else self.numbers.release

    @rule(name=st.sampled_from(sorted(URLS)))
    def release(self, name: str) -> None:
        if name not in self.ids:
            return
        self.numbers.release += 1
        self.operator[name] = self.numbers.release
        self.db.execute("BEGIN IMMEDIATE")
        released = subscriptions.release_retries(
            self.db, name, release=self.numbers.release, now=self.now
        )
        self.db.execute("COMMIT")
        retries = [
            each
            for each in self.model.values()
            if each.subscription == name and each.state is State.RETRYING
        ]
        assert released == len(retries)

    def extra(self, each: Model) -> Extra | None:
        """Return what released a delivery that is not due."""
        if each.state is not State.RETRYING or each.due_at is None or each.due_at <= self.now:
            return None
        return released_by(
            each.release_seen,
            recovery_used=each.recovery_used,
            recovery=self.recovery,
            operator=self.operator[each.subscription],
        )

    @rule(count=st.integers(0, 4), backlog_first=st.booleans())
    def claim(self, count: int, backlog_first: bool) -> None:
        names = tuple(sorted(self.active - self.gone))
        if not names:
            return
        want = Want(names, count, self.now, frozenset(self.in_flight), self.recovery, backlog_first)
        [found] = claim.claim(self.db, [want], tag="tag", subscription_ids=self.ids)
        due = {
            seq
            for seq, each in self.model.items()
            if each.subscription in names
            and seq not in self.in_flight
            and each.due_at is not None
            and (each.state is State.PENDING or each.due_at <= self.now or self.extra(each))
        }
        claimed = [each.seq for each in found.deliveries]
        assert len(claimed) == len(set(claimed)) == min(count, len(due))
        assert set(claimed) <= due
        for each in found.deliveries:
            model = self.model[each.seq]
            assert (each.state, each.attempts, each.step) == (
                model.state, model.attempts, model.step
            )  # fmt: skip
            assert each.event_id == model.event_id
            assert (each.due_at, each.extra) == (model.due_at, self.extra(model))
        for name in names:
            of_it = {seq for seq, each in self.model.items() if each.subscription == name}
            left = (due - set(claimed)) & of_it
            later = [
                due_at
                for seq in of_it
                if self.model[seq].state is State.RETRYING
                and (due_at := self.model[seq].due_at or 0.0) > self.now
            ]
            if left:
                assert found.next_due[name] <= self.now
            elif later:
                assert found.next_due[name] == min(later)
            else:
                assert name not in found.next_due
        release = self.numbers.release
        self.in_flight |= {each.seq: (each, release) for each in found.deliveries}

    @precondition(lambda self: self.in_flight)
    @rule(data=st.data(), name=st.sampled_from(sorted(OUTCOMES)), jitter=st.floats(-1.0, 1.0))
    def finish(self, data: st.DataObject, name: str, jitter: float) -> None:
        seq = data.draw(st.sampled_from(sorted(self.in_flight)))
        delivery, began_after = self.in_flight.pop(seq)
        outcome = OUTCOMES[name]
        decided = decide(
            delivery, outcome, SCHEDULE, started_at=self.now, now=self.now, jitter=jitter
        )
        self.db.execute("BEGIN IMMEDIATE")
        url = URLS[delivery.subscription]
        [stands], _ = record.record(
            self.db, [Recording(decided, url, None, newest_release=began_after)]
        )
        self.db.execute("COMMIT")
        before = self.model[seq]
        unchanged = (before.state, before.step) == (delivery.state, delivery.step) and (
            before.state is not State.PENDING or before.due_at == delivery.due_at
        )
        attempts = max(before.attempts, delivery.attempts + 1)
        if unchanged or (outcome.succeeded and before.state in origins(Change.SUCCEED)):
            self.model[seq] = replace(
                before,
                state=decided.state,
                attempts=attempts,
                step=decided.step,
                release_seen=seen_after(before.release_seen, began_after),
            )
            if decided.rescheduled:
                self.model[seq] = replace(
                    self.model[seq],
                    scheduled_at=self.now,
                    due_at=decided.due_at,
                    recovery_used=False,
                )
            elif delivery.extra is Extra.RECOVERY:
                self.model[seq] = replace(self.model[seq], recovery_used=True)
        else:
            assert not stands
            self.model[seq] = replace(before, attempts=attempts)
        if outcome.gone:
            self.gone.add(delivery.subscription)

    @rule()
    def crash(self) -> None:
        """The process ends within a transaction: nothing of it was, and nothing is in flight."""
        self.db.execute("BEGIN IMMEDIATE")
        self.db.execute("UPDATE deliveries SET attempts = attempts + 1")
        self.db.close()
        self.db = self.opened()
        self.numbers = Numbers.read(self.db)
        self.in_flight.clear()
        self.reload(self.active)

    @rule(seconds=st.sampled_from([1.0, 9.0, 11.0, 70.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.now += seconds

    @precondition(lambda self: self.model)
    @rule(data=st.data(), replaying=st.booleans(), delivered=st.booleans())
    def operate(self, data: st.DataObject, replaying: bool, delivered: bool) -> None:
        seqs = data.draw(st.lists(st.sampled_from(sorted(self.model)), max_size=4, unique=True))
        self.db.execute("BEGIN IMMEDIATE")
        changed = (
            operate.replay(self.db, self.ids, seqs, now=self.now, delivered=delivered)
            if replaying
            else operate.cancel(self.db, self.ids, seqs, now=self.now)
        )
        self.db.execute("COMMIT")
        touched = 0
        again = {State.EXHAUSTED, State.CANCELLED} | ({State.DELIVERED} if delivered else set())
        for seq in seqs:
            each = self.model[seq]
            if replaying and each.state in again:
                touched += 1
                self.model[seq] = replace(
                    each,
                    state=State.PENDING,
                    step=0,
                    scheduled_at=self.now,
                    due_at=self.now - 60.0,
                    release_seen=0,
                    recovery_used=False,
                )
            elif not replaying and each.state in WAITING:
                touched += 1
                self.model[seq] = replace(each, state=State.CANCELLED, due_at=None)
        assert changed.count == touched

    @precondition(lambda self: self.model)
    @rule(data=st.data())
    def retry(self, data: st.DataObject) -> None:
        seqs = data.draw(st.lists(st.sampled_from(sorted(self.model)), max_size=4, unique=True))
        self.numbers.release += 1
        self.db.execute("BEGIN IMMEDIATE")
        changed = operate.retry(self.db, self.ids, seqs, release=self.numbers.release)
        self.db.execute("COMMIT")
        retries = [seq for seq in seqs if self.model[seq].state is State.RETRYING]
        for seq in retries:
            self.model[seq] = replace(self.model[seq], release_seen=-self.numbers.release)
        assert changed.count == len(retries)

    @rule(name=st.sampled_from(sorted(URLS)))
    def resume(self, name: str) -> None:
        self.db.execute("BEGIN IMMEDIATE")
        resumed = subscriptions.resume(self.db, name)
        self.db.execute("COMMIT")
        assert resumed == (name in self.gone)
        self.gone.discard(name)

    @invariant()
    def the_queue_agrees_with_the_model(self) -> None:
        rows = self.db.execute(
            "SELECT d.seq, e.id, s.name, d.state, d.attempts, d.step, d.due_at, d.recovery_used"
            " FROM deliveries d"
            " JOIN events e ON e.seq = d.event_seq JOIN subscriptions s ON s.id = d.subscription_id"
        )
        found = {
            seq: (event_id, name, State(state), attempts, step, due_at, bool(used))
            for seq, event_id, name, state, attempts, step, due_at, used in rows
        }
        assert found == {
            seq: (
                each.event_id,
                each.subscription,
                each.state,
                each.attempts,
                each.step,
                each.due_at,
                each.recovery_used,
            )
            for seq, each in self.model.items()
        }
        [(events,)] = self.db.execute("SELECT count(*) FROM events")
        assert events == len(self.digests), "accepted events are there, and no others"


TestQueueMachine = QueueMachine.TestCase
TestQueueMachine.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
