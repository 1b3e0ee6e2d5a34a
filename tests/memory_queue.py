"""A queue in memory, for tests on virtual time: a SQLite thread would look idle to their clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from relayd.core.admission import FRESH_FOR_S, admit
from relayd.core.delivery import AttemptRecord, Change, Delivery, State, origins
from relayd.core.endpoint import Health
from relayd.core.hold import Hold, HoldChange, Holds, after_change, shown_hold
from relayd.core.own_events import HELD, Report
from relayd.core.release import Extra, released_by, seen_after
from relayd.queue.values import Claim, Recording, Want


@dataclass(slots=True)
class Row:
    """A delivery. `scheduled_at` is when its due time was decided, `event` its event's number.

    `order_key` is None once it has left its order.
    """

    delivery: Delivery
    due_at: float | None
    release_seen: int = 0
    recovery_used: bool = False
    event: int = 0
    scheduled_at: float = 0.0
    ended_at: float | None = None
    order_key: str | None = None


@dataclass(slots=True)
class MemoryQueue:
    """Claims and records as the SQLite one does: `tests/conformance` compares them."""

    rows: dict[int, Row] = field(default_factory=dict)
    records: list[AttemptRecord] = field(default_factory=list)
    record_errors: list[Exception] = field(default_factory=list)
    healths: dict[str, Health] = field(default_factory=dict)
    told: list[Report] = field(default_factory=list)
    releases: dict[str, int] = field(default_factory=dict)
    last_release: int = 0
    holds: dict[str, Hold | None] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    quarantined: dict[int, str] = field(default_factory=dict)
    keeping: set[str] = field(default_factory=set)
    _recorded: set[tuple[int, int]] = field(default_factory=set)

    def add(
        self,
        now: float,
        subscription: str = "books",
        event_type: str = "order.created",
        order_key: str | None = None,
    ) -> int:
        """Add a pending delivery, due now, and return its number."""
        seq = len(self.rows) + 1
        delivery = Delivery(
            seq=seq,
            id=f"dlv_test_{seq}",
            subscription=subscription,
            event_id=f"evt_{seq}",
            event_type=event_type,
            state=State.PENDING,
            attempts=0,
            step=0,
            due_at=now,
            body=b'{"id":"evt"}',
        )
        self.rows[seq] = Row(delivery, now, order_key=order_key)
        return seq

    def is_behind(self, seq: int) -> bool:
        """Tell whether another delivery is ahead of this one in its order."""
        row = self.rows[seq]
        return row.order_key is not None and any(
            number < seq
            and other.order_key == row.order_key
            and other.delivery.subscription == row.delivery.subscription
            for number, other in self.rows.items()
        )

    def leave_order(self, row: Row) -> None:
        """Take a delivery out of its order if it has ended, and does not block the others."""
        exhausted = row.delivery.state is State.EXHAUSTED
        if row.due_at is None and not (exhausted and row.delivery.subscription in self.keeping):
            row.order_key = None

    def states(self) -> dict[int, State]:
        """Return each delivery's state by its number."""
        return {seq: row.delivery.state for seq, row in self.rows.items()}

    def next_release(self) -> int:
        self.last_release += 1
        return self.last_release

    @property
    def newest_release(self) -> int:
        return self.last_release

    def release_now(self, subscription: str) -> None:
        """Release what waits for a subscription, as the operator does."""
        self.releases[subscription] = self.next_release()

    def released_last(self, subscription: str) -> int:
        """Return the number of the operator's last release of a subscription, 0 for none."""
        return self.releases.get(subscription, 0)

    def _extra(self, row: Row, want: Want) -> Extra | None:
        if row.delivery.state is not State.RETRYING or row.due_at is None or row.due_at <= want.now:
            return None
        return released_by(
            row.release_seen,
            recovery_used=row.recovery_used,
            recovery=want.recovery,
            operator=self.released_last(row.delivery.subscription),
        )

    async def claim(self, want: Want) -> Claim:
        fresh: list[tuple[float, int]] = []
        backlog: list[tuple[float, int]] = []
        later: dict[str, float] = {}
        for seq, row in self.rows.items():
            delivery = row.delivery
            if row.due_at is None or delivery.subscription not in want.subscriptions:
                continue
            if seq in want.busy or self.is_behind(seq):
                continue
            released = self._extra(row, want) is not None
            if delivery.state is State.PENDING and row.due_at > want.now - FRESH_FOR_S:
                fresh.append((row.due_at, seq))
            elif delivery.state is State.PENDING or row.due_at <= want.now or released:
                backlog.append((row.due_at, seq))
            else:
                name = delivery.subscription
                later[name] = min(later.get(name, row.due_at), row.due_at)
        chosen, backlog_first = admit(
            sorted(fresh), sorted(backlog), want.count, backlog_first=want.backlog_first
        )
        left = {seq for _, seq in fresh + backlog} - {seq for _, seq in chosen}
        more = {self.rows[seq].delivery.subscription: want.now for seq in left}
        return Claim(
            deliveries=tuple(
                replace(
                    row.delivery,
                    due_at=row.due_at or 0.0,
                    extra=self._extra(row, want),
                    order_key=row.order_key,
                )
                for row in (self.rows[seq] for _, seq in chosen)
            ),
            next_due={**later, **more},
            backlog_first=backlog_first,
        )

    async def record_health(
        self, url: str, health: Callable[[], Health], own_events: Sequence[Report]
    ) -> None:
        if self.record_errors:
            raise self.record_errors.pop(0)
        self.healths[url] = health()
        self.told += own_events

    async def quarantine(self, seq: int, detail: str) -> bool:
        self.quarantined[seq] = detail
        row = self.rows[seq]
        if row.due_at is None:
            return False
        attempts = row.delivery.attempts + 1
        row.delivery = replace(row.delivery, state=State.EXHAUSTED, attempts=attempts)
        row.due_at = None
        self.leave_order(row)
        return True

    async def record(self, recording: Recording) -> bool:
        if self.record_errors:
            raise self.record_errors.pop(0)
        record = recording.record
        number = (record.delivery.seq, record.delivery.attempts)
        assert number not in self._recorded
        self._recorded.add(number)
        self.records.append(record)
        held = record.outcome.gone and self.note_gone(record.delivery.subscription, recording.url)
        self.keep_own_events([e for e in recording.own_events if held or e.type != HELD])
        row = self.rows.get(record.delivery.seq)
        if row is None:
            return True  # cancelled and removed meanwhile: there is nothing to change
        stands = self._stands(row, record)
        attempts = max(row.delivery.attempts, record.delivery.attempts + 1)
        row.delivery = replace(row.delivery, attempts=attempts)
        if not stands:
            return False
        row.release_seen = seen_after(row.release_seen, recording.newest_release)
        if record.rescheduled:
            row.due_at, row.scheduled_at = record.due_at, record.decided_at
            row.ended_at = record.decided_at if record.due_at is None else None
            row.recovery_used = False
        elif record.delivery.extra is Extra.RECOVERY:
            row.recovery_used = True
        row.delivery = replace(row.delivery, state=record.state, step=record.step)
        self.leave_order(row)
        return True

    def keep_own_events(self, events: Sequence[Report]) -> None:
        self.told += events

    def note_gone(self, name: str, url: str) -> bool:
        """Hold a subscription whose receiver answered 410, unless it has another URL by now.

        Returns whether it was not held so before.
        """
        if self.urls.get(name, url) != url:
            return False
        hold = self.holds.get(name)
        before = Holds() if hold is None else Holds({hold})
        holds = after_change(before, HoldChange.ANSWER_GONE)
        self.holds[name] = shown_hold(holds)
        return holds != before

    def _stands(self, row: Row, record: AttemptRecord) -> bool:
        """Say whether the operator has changed nothing meanwhile, or the attempt succeeded."""
        now, then = row.delivery, record.delivery
        if not record.rescheduled:
            return now.state is State.RETRYING and now.step == then.step
        if record.outcome.succeeded and now.state in origins(Change.SUCCEED):
            return True
        unchanged = (now.state, now.step) == (then.state, then.step)
        return unchanged and (now.state is not State.PENDING or row.due_at == then.due_at)
