"""A queue in memory, for tests on virtual time: a SQLite thread would look idle to their clock."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from relayd.core.admission import FRESH_FOR_S, admit
from relayd.core.delivery import AttemptRecord, Delivery, Hold, State
from relayd.core.endpoint import Health
from relayd.core.own_events import OwnEvent
from relayd.core.release import Extra, released_by
from relayd.queue.claims import Claim, Want
from relayd.queue.records import Recording


@dataclass(slots=True)
class _Row:
    delivery: Delivery
    due_at: float | None
    release_seen: int = 0
    recovery_used: bool = False


@dataclass(slots=True)
class MemoryQueue:
    """Claims and records as the real one does; see `tests/integration/queue`."""

    rows: dict[int, _Row] = field(default_factory=dict)
    records: list[AttemptRecord] = field(default_factory=list)
    record_errors: list[Exception] = field(default_factory=list)
    healths: dict[str, Health] = field(default_factory=dict)
    told: list[OwnEvent] = field(default_factory=list)
    releases: dict[str, int] = field(default_factory=dict)
    last_release: int = 0
    holds: dict[str, Hold | None] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    quarantined: dict[int, str] = field(default_factory=dict)
    _recorded: set[tuple[int, int]] = field(default_factory=set)

    def add(
        self, now: float, subscription: str = "books", event_type: str = "order.created"
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
        self.rows[seq] = _Row(delivery, now)
        return seq

    def states(self) -> dict[int, State]:
        """Return each delivery's state by its number."""
        return {seq: row.delivery.state for seq, row in self.rows.items()}

    def next_release(self) -> int:
        self.last_release += 1
        return self.last_release

    @property
    def newest_release(self) -> int:
        return self.last_release

    def release(self, subscription: str) -> None:
        """Release what waits for a subscription, as the operator does."""
        self.releases[subscription] = self.next_release()

    def _extra(self, row: _Row, want: Want) -> Extra | None:
        if row.delivery.state is not State.RETRYING or row.due_at is None or row.due_at <= want.now:
            return None
        return released_by(
            row.release_seen,
            recovery_used=row.recovery_used,
            recovery=want.recovery,
            operator=self.releases.get(row.delivery.subscription, 0),
        )

    async def claim(self, want: Want) -> Claim:
        fresh: list[tuple[float, int]] = []
        backlog: list[tuple[float, int]] = []
        later: dict[str, float] = {}
        for seq, row in self.rows.items():
            delivery = row.delivery
            if row.due_at is None or delivery.subscription not in want.subscriptions:
                continue
            if seq in want.busy:
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
                replace(row.delivery, due_at=row.due_at or 0.0, extra=self._extra(row, want))
                for row in (self.rows[seq] for _, seq in chosen)
            ),
            next_due={**later, **more},
            backlog_first=backlog_first,
        )

    async def record_health(
        self, url: str, health: Callable[[], Health], own_events: Sequence[OwnEvent]
    ) -> None:
        if self.record_errors:
            raise self.record_errors.pop(0)
        self.healths[url] = health()
        self.told += own_events

    async def quarantine(self, seq: int, detail: str) -> bool:
        self.quarantined[seq] = detail
        ended, self.rows[seq].due_at = self.rows[seq].due_at is None, None
        return not ended

    async def record(self, recording: Recording) -> bool:
        if self.record_errors:
            raise self.record_errors.pop(0)
        record = recording.record
        number = (record.delivery.seq, record.delivery.attempts)
        assert number not in self._recorded
        self._recorded.add(number)
        self.records.append(record)
        self.told += recording.own_events
        name = record.delivery.subscription
        if record.outcome.gone and self.urls.get(name, recording.url) == recording.url:
            self.holds[name] = Hold.GONE
        row = self.rows[record.delivery.seq]
        row.release_seen = recording.release
        if record.rescheduled:
            row.due_at = record.due_at
            row.recovery_used = False
        elif record.delivery.extra is Extra.RECOVERY:
            row.recovery_used = True
        row.delivery = replace(
            row.delivery, state=record.state, step=record.step, attempts=row.delivery.attempts + 1
        )
        return True
