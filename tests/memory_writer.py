"""The whole of `QueueWriter` in memory: what comes in, what the operator changes, what goes in time."""

from array import array
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import trio
from memory_queue import MemoryQueue, Row

from relayd.config.sections import REJECTED_BYTES
from relayd.core.acceptance import Acceptance, NewEvent, Rejected, RejectedRow, refusal
from relayd.core.admission import FRESH_FOR_S
from relayd.core.advice import FAILURE_ADVICE
from relayd.core.clock_step import is_from_before, moved_health
from relayd.core.delivery import WAITING, Change, Delivery, State, origins
from relayd.core.endpoint import Health
from relayd.core.event import Event
from relayd.core.expiry import Evidence, Expiry
from relayd.core.feed import (
    FeedCursor,
    FeedGapError,
    FeedPage,
    FeedWish,
    Removal,
    after_removal,
    fill_page,
    has_gap,
)
from relayd.core.hold import (
    FREE,
    HoldChange,
    Holds,
    after_change,
    after_declaring,
    after_handing_over,
    shown_hold,
)
from relayd.core.notices import (
    Notice,
    after_happening,
    after_renaming,
    is_due,
    summed,
    when_due,
)
from relayd.core.operating_events import UNAVAILABLE
from relayd.core.outcome import Failure
from relayd.core.own_events import (
    EXHAUSTED,
    Counted,
    OutboxRow,
    OwnEvent,
    Report,
    after_exhaustion,
    after_rejection,
)
from relayd.core.sequence import next_sequence
from relayd.core.webhook import Webhook
from relayd.queue.overview_values import Contents
from relayd.queue.snapshot_values import RejectedInput
from relayd.queue.sqlite.early_tables import REJECTED_ROW_BYTES
from relayd.queue.values import (
    Changed,
    Cursor,
    Declared,
    HandoverStep,
    Horizon,
    PruneStep,
    Recording,
    Retries,
    Waiting,
)


def _size(rejected: RejectedInput) -> int:
    """Return what a rejected row takes, as SQLite's queue counts it."""
    row = rejected.row
    values = (row.id, row.type, row.data, row.created, row.market_id, row.api_version)
    lengths = (
        len(each if isinstance(each, bytes) else str(each)) for each in values if each is not None
    )
    return REJECTED_ROW_BYTES + len(rejected.reason) + sum(lengths)


@dataclass
class Subscription:
    """One that was ever declared, and all that holds it."""

    url: str
    made_with: bytes
    holds: Holds = FREE
    release: int = 0
    released_at: float | None = None

    def change(self, change: HoldChange) -> bool:
        """Let this happen to it; return whether other holds are in force than before."""
        before, self.holds = self.holds, after_change(self.holds, change)
        return before != self.holds


@dataclass
class Kept:
    """An event that was accepted. `body` is None once only its id is kept."""

    event: Event
    accepted_at: float
    body: bytes | None
    sequence: int


@dataclass
class MemoryWriter(MemoryQueue):
    """Does what the SQLite queue does. `clock` gives Unix seconds."""

    clock: Callable[[], float] = field(default=lambda: 0.0)
    subscriptions: dict[str, Subscription] = field(default_factory=dict)
    events: dict[int, Kept] = field(default_factory=dict)
    refused: dict[int, RejectedInput] = field(default_factory=dict)
    left: dict[bytes, float] = field(default_factory=dict)
    keys: dict[str, int] = field(default_factory=dict)
    tokens: dict[str, str] = field(default_factory=dict)
    own_types: frozenset[str] = frozenset()
    own_events: list[OutboxRow] = field(default_factory=list)
    notices: dict[tuple[str, str], Notice] = field(default_factory=dict)
    outages: dict[str, float] = field(default_factory=dict)
    may_be_told: Sequence[Report] = ()
    used: dict[str, int] = field(default_factory=dict)
    sequence: int = 0
    seen_at: float | None = None
    expired_at: float | None = None
    removals: tuple[Removal, ...] = ()
    sequence_removed: int = 0

    @property
    def tag(self) -> str:
        return "test"

    @property
    def looks(self) -> "MemoryLooks":
        return MemoryLooks(self)

    @asynccontextmanager
    async def survey(self) -> AsyncIterator["MemoryLooks"]:
        yield self.looks

    def _next(self, kind: str) -> int:
        """Return the next number, which no other of this kind gets, whatever is removed."""
        self.used[kind] = self.used.get(kind, 0) + 1
        return self.used[kind]

    def _tell(self, reports: Iterable[Report]) -> None:
        counted = []
        for each in reports:
            self.told.append(each)
            if isinstance(each, OwnEvent):
                self._put(each)
            elif each.type in self.own_types:
                counted.append(each)
        for happened in summed(counted):
            key = happened.type, happened.subject
            self.notices[key], reported = after_happening(
                self.notices.get(key), happened, self.clock()
            )
            self._report(reported)

    def _report(self, counted: Counted | None) -> None:
        if counted is not None:
            self._put(counted.event(self.clock()))

    def _put(self, event: OwnEvent) -> None:
        if event.type in self.own_types:
            number = self._next("own")
            self.own_events.append(OutboxRow(number, f"evt_relayd_{number}", event))

    def _hold(self) -> None:
        self.holds = {name: shown_hold(each.holds) for name, each in self.subscriptions.items()}

    # The way of an event.

    async def accept(self, news: Sequence[NewEvent]) -> list[Acceptance]:
        return [self._accept(new) for new in news]

    def _accept(self, new: NewEvent) -> Acceptance:
        event, now, webhook = new.event, self.clock(), new.webhook
        if self._has_used_token(webhook):
            return Acceptance.TOKEN_REUSED
        if webhook is not None and webhook.key in self.keys:
            self._use_token(webhook)
            return Acceptance.DUPLICATE
        for kept in self.events.values():
            if (kept.event.id, kept.event.market_id) == (event.id, event.market_id):
                same = kept.event.digest == event.digest
                if same:
                    self._use_token(webhook)
                return Acceptance.DUPLICATE if same else Acceptance.CONFLICT
        number = self._next("event")
        self.sequence = next_sequence(self.sequence, now)
        self.events[number] = Kept(event, now, event.body, self.sequence)
        self._use_token(webhook)
        if webhook is not None:
            self.keys[webhook.key] = number
        for name in new.subscriptions:
            self._make(number, name, now, now, dict(new.order_keys).get(name))
        return Acceptance.ACCEPTED

    def _make(
        self,
        number: int,
        subscription: str,
        now: float,
        due_at: float,
        order_key: str | None = None,
    ) -> None:
        seq, event = self._next("delivery"), self.events[number].event
        delivery = Delivery(
            seq=seq,
            id=f"dlv_test_{seq}",
            subscription=subscription,
            event_id=event.id,
            event_type=event.type,
            state=State.PENDING,
            attempts=0,
            step=0,
            due_at=due_at,
            body=event.body,
            sequence=self.events[number].sequence,
        )
        self.rows[seq] = Row(delivery, due_at, event=number, scheduled_at=now, order_key=order_key)

    async def reject(
        self, rejected: Sequence[RejectedRow], *, most_bytes: int = REJECTED_BYTES
    ) -> Rejected:
        new, now = [], self.clock()
        refused = [each for each in rejected if self._has_used_token(each.webhook)]
        duplicates = [
            each
            for each in rejected
            if each not in refused and each.webhook is not None and each.webhook.key in self.keys
        ]
        for each in duplicates:
            self._use_token(each.webhook)
        for each in rejected:
            if each in refused or each in duplicates:
                continue
            mark = repr((each.source, each.row)).encode()
            if each.webhook is not None:
                mark = each.webhook.fingerprint
                self._use_token(each.webhook)
            if mark in self.left:
                continue
            number = self._next("rejected")
            if mark in {known.fingerprint for known in self.refused.values()}:
                continue  # the number is left out, as SQLite does
            why = each.rejection
            row = replace(each.row, seq=number)
            self.refused[number] = RejectedInput(
                number, each.source, now, why.code, why.reason, row, mark
            )
            new.append((number, each))
        self._tell(after_rejection(new, now))
        for source in {each.source for _, each in new}:
            self._keep_rejected_within(source, most_bytes)
        return Rejected([each for _, each in new], refused, duplicates)

    def _has_used_token(self, webhook: Webhook | None) -> bool:
        if webhook is None or not webhook.token:
            return False
        return self.tokens.get(webhook.token, webhook.key) != webhook.key

    def _use_token(self, webhook: Webhook | None) -> None:
        if webhook is not None and webhook.token:
            self.tokens[webhook.token] = webhook.key

    def _keep_rejected_within(self, source: str, most_bytes: int) -> None:
        kept = [seq for seq, each in self.refused.items() if each.source == source]
        total = sum(_size(self.refused[seq]) for seq in kept)
        for seq in kept[:-1]:
            if total <= most_bytes:
                break
            total -= _size(self.refused.pop(seq))

    async def record(self, recording: Recording) -> bool:
        stands = await super().record(recording)
        self._tell(each for each in self.may_be_told if stands or each.type != EXHAUSTED)
        if recording.health is not None:
            self.healths[recording.url] = recording.health()
        return stands

    def keep_own_events(self, events: Sequence[Report]) -> None:
        """Leave it to `record`, which knows whether the delivery stands."""
        self.may_be_told = events

    def note_gone(self, name: str, url: str) -> bool:
        found = self.subscriptions[name]
        held = found.url == url and found.change(HoldChange.ANSWER_GONE)
        self._hold()
        return held

    async def quarantine(self, seq: int, detail: str) -> bool:
        ended = await super().quarantine(seq, detail)
        delivery = self.rows[seq].delivery
        if ended:
            self._tell(
                after_exhaustion(
                    delivery.id,
                    self.clock(),
                    event_type=delivery.event_type,
                    subscription=delivery.subscription,
                    attempts=delivery.attempts,
                    last_failure=detail,
                    repair=FAILURE_ADVICE[Failure.POISON],
                )
            )
            self.rows[seq].ended_at = self.clock()
        return ended

    async def record_health(
        self, url: str, health: Callable[[], Health], own_events: Sequence[Report]
    ) -> None:
        self.healths[url] = health()
        self._tell(own_events)

    async def health(self) -> Mapping[str, Health]:
        return self.healths

    async def outbox(self) -> Sequence[OutboxRow]:
        while not self.own_events:
            await trio.sleep(1)
        return self.own_events[:100]

    async def remove_from_outbox(self, rows: Sequence[OutboxRow]) -> None:
        self.own_events = [each for each in self.own_events if each not in rows]

    async def report(self, reports: Sequence[Report]) -> None:
        self._tell(reports)

    async def report_due(self) -> None:
        now = self.clock()
        for key, notice in sorted(self.notices.items()):
            if not is_due(notice.last_sent_at, now):
                continue
            after, reported = when_due(notice, now)
            if after is None or key[0] not in self.own_types:
                del self.notices[key]
            else:
                self.notices[key] = after
                self._report(reported)

    async def source_outages(self) -> Mapping[str, float]:
        return dict(self.outages)

    async def begin_source_outage(self, source: str, since: float, event: OwnEvent) -> bool:
        if UNAVAILABLE not in self.own_types:
            return False
        self.outages[source] = since
        self._tell([event])
        return True

    async def end_source_outage(self, source: str, event: OwnEvent | None) -> None:
        self.outages.pop(source, None)
        self._tell([] if event is None else [event])

    # What the configuration and the operator change.

    async def declare(
        self, declared: Iterable[Declared], own_types: frozenset[str] = frozenset()
    ) -> Mapping[str, int]:
        release, now = self.next_release(), self.clock()
        wanted = {each.name: each for each in declared}
        for name, found in self.subscriptions.items():
            if name not in wanted:
                found.holds = after_declaring(found.holds, active=None, moved=False)
        for name, each in wanted.items():
            known = self.subscriptions.setdefault(name, Subscription(each.url, each.made_with))
            moved = known.url != each.url
            known.holds = after_declaring(known.holds, active=each.active, moved=moved)
            if (known.url, known.made_with) != (each.url, each.made_with):
                known.release, known.released_at = release, now
            known.url, known.made_with = each.url, each.made_with
            (self.keeping.add if each.keeps_place else self.keeping.discard)(name)
        for row in self.rows.values():
            self.leave_order(row)
        self.own_types = own_types
        self._hold()
        released = {
            name: self._released(name, release)
            for name, each in self.subscriptions.items()
            if each.release == release
        }
        return {name: count for name, count in released.items() if count}

    def _released(self, name: str, release: int) -> int:
        return sum(
            row.delivery.subscription == name
            and row.delivery.state is State.RETRYING
            and row.release_seen < release
            and not self.is_behind(seq)
            for seq, row in self.rows.items()
        )

    def released_last(self, subscription: str) -> int:
        return self.subscriptions[subscription].release

    async def release(self, subscription: str) -> int:
        found = self.subscriptions[subscription]
        found.release, found.released_at = self.next_release(), self.clock()
        return self._released(subscription, found.release)

    async def replay(self, seqs: Sequence[int], *, delivered: bool = False) -> Changed:
        now = self.clock()

        def again(row: Row) -> None:
            row.delivery = replace(row.delivery, state=State.PENDING, step=0)
            row.due_at, row.scheduled_at, row.ended_at = now - FRESH_FOR_S, now, None
            row.recovery_used, row.release_seen = False, 0

        first = self._change(seqs, Change.REPLAY, again)
        second = self._change(seqs if delivered else (), Change.RESEND, again)
        return Changed(first.count + second.count, first.subscriptions | second.subscriptions)

    async def retry(self, seqs: Sequence[int]) -> Changed:
        release = self.next_release()
        found = [self.rows[seq] for seq in seqs if seq in self.rows]
        waiting = [row for row in found if row.delivery.state in WAITING]
        retries = [row for row in waiting if row.delivery.state is State.RETRYING]
        for row in retries:
            row.release_seen = -release
        now = [row for row in retries if not self.is_behind(row.delivery.seq)]
        return Changed(len(now), frozenset(row.delivery.subscription for row in waiting))

    async def cancel(self, seqs: Sequence[int]) -> Changed:
        def end(row: Row) -> None:
            row.delivery = replace(row.delivery, state=State.CANCELLED)
            row.due_at, row.ended_at = None, self.clock()
            self.leave_order(row)

        return self._change(seqs, Change.CANCEL, end)

    def _change(self, seqs: Sequence[int], change: Change, apply: Callable[[Row], None]) -> Changed:
        found = [self.rows[seq] for seq in seqs if seq in self.rows]
        changed = [row for row in found if row.delivery.state in origins(change)]
        if change is Change.CANCEL:
            given_up = origins(Change.GIVE_UP)
            changed += [
                r for r in found if r.order_key is not None and r.delivery.state in given_up
            ]
        for row in changed:
            apply(row)
        return Changed(len(changed), frozenset(row.delivery.subscription for row in changed))

    async def backfill(self, subscription: str, event_seqs: Sequence[int]) -> int:
        there = {
            row.event for row in self.rows.values() if row.delivery.subscription == subscription
        }
        lacking = [
            number
            for number in sorted(event_seqs)
            if number not in there
            and number in self.events
            and self.events[number].body is not None
        ]
        now = self.clock()
        for number in lacking:
            self._make(number, subscription, now, now - FRESH_FOR_S)
        return len(lacking)

    async def pause(self, subscription: str) -> bool:
        changed = self.subscriptions[subscription].change(HoldChange.PAUSE)
        self._hold()
        return changed

    async def resume(self, subscription: str) -> tuple[bool, int]:
        changed = self.subscriptions[subscription].change(HoldChange.RESUME)
        self._hold()
        return changed, await self.release(subscription)

    async def hand_over(
        self, old: str, new: str, *, after: int, in_flight: Iterable[int]
    ) -> HandoverStep:
        source, target, busy = self.subscriptions[old], self.subscriptions[new], set(in_flight)
        another = (source.url, source.made_with) != (target.url, target.made_with)
        before, same_url = source.holds, source.url == target.url
        source.holds, target.holds = after_handing_over(before, target.holds, same_url=same_url)
        if (taken := self.notices.pop((EXHAUSTED, old), None)) is not None:
            key = EXHAUSTED, new
            self.notices[key] = after_renaming(taken, self.notices.get(key), new)
        there = {row.event for row in self.rows.values() if row.delivery.subscription == new}
        rows = {
            seq: row
            for seq, row in self.rows.items()
            if seq > after and row.delivery.subscription == old
        }
        busy_keys = {row.order_key for seq, row in rows.items() if seq in busy} - {None}

        def stays(seq: int, row: Row) -> bool:
            return (row.due_at is not None and seq in busy) or row.order_key in busy_keys

        moved = [row for seq, row in rows.items() if row.event not in there and not stays(seq, row)]
        for row in moved:
            row.delivery = replace(row.delivery, subscription=new)
            if another or row.release_seen < source.release:
                row.release_seen = -1
            self.leave_order(row)
        if moved and (source.release or another):
            target.release = max(target.release, 1)
            target.released_at = self.clock()
        self._hold()
        left = {seq: row for seq, row in rows.items() if row.delivery.subscription == old}
        waits = sum(stays(seq, row) for seq, row in left.items())
        last = max(self.rows, default=0)
        return HandoverStep(
            moved=len(moved),
            waiting=sum(row.due_at is not None for row in moved),
            released=sum(
                row.delivery.state is State.RETRYING
                and row.release_seen < target.release
                and not self.is_behind(row.delivery.seq)
                for row in moved
            ),
            through=last,
            last=last,
            in_flight=waits,
            kept=len(left) - waits,
            holds_moved=source.holds != before,
        )

    async def resubmit(self, new: NewEvent, rejected: int) -> Acceptance | None:
        if rejected not in self.refused:
            return None
        result = self._accept(new)
        if refusal(result, new.event.id) is None:
            await self.drop_rejected([rejected])
        return result

    async def drop_rejected(self, seqs: Sequence[int]) -> int:
        found = [seq for seq in dict.fromkeys(seqs) if seq in self.refused]
        for seq in found:
            self.left[self.refused.pop(seq).fingerprint] = self.clock()
        return len(found)

    # What goes with time.

    async def remember_expiry(self, now: float, expiry: Expiry, *, known: float) -> None:
        self.seen_at, self.expired_at = now, expiry.stands_at
        self.left = {mark: left_at for mark, left_at in self.left.items() if left_at >= known}

    def ended(self, number: int, before: float) -> bool:
        """Say whether all of an event's deliveries ended before this time, and block no other."""
        return all(
            row.ended_at is not None and row.ended_at < before and not self._blocks(seq)
            for seq, row in self.rows.items()
            if row.event == number
        )

    def _blocks(self, seq: int) -> bool:
        row = self.rows[seq]
        return row.order_key is not None and any(
            number > seq
            and other.order_key == row.order_key
            and other.delivery.subscription == row.delivery.subscription
            for number, other in self.rows.items()
        )

    async def prune(self, horizon: Horizon, event_seqs: Sequence[int]) -> int:
        gone = [n for n in event_seqs if n in self.events and self.ended(n, horizon.ended)]
        bodies = [self.events[n].sequence for n in gone if self.events[n].body is not None]
        if bodies:
            self.removals = after_removal(self.removals, max(bodies), self.clock())
        for number in gone:
            if self.events[number].accepted_at < horizon.known:
                removed = self.events.pop(number).sequence
                self.sequence_removed = max(self.sequence_removed, removed)
            else:
                self.events[number].body = None
        self.rows = {seq: row for seq, row in self.rows.items() if row.event not in gone}
        self.keys = {key: number for key, number in self.keys.items() if number in self.events}
        return len(gone)

    def feed(self, after: FeedCursor | None, wish: FeedWish) -> FeedPage:
        """Return a page of the feed, as a snapshot does."""
        oldest = FeedCursor(self.tag, 0, self.removals[-1].number if self.removals else 0)
        begin = oldest if after is None else after
        known = {0, *(each.sequence for each in self.events.values())}
        is_known = begin.sequence in known or begin.sequence <= self.sequence_removed
        if begin.queue != self.tag or has_gap(begin, self.removals) or not is_known:
            raise FeedGapError(oldest)
        rows = [
            (number, each.sequence, each.event.type, each.body is not None)
            for number, each in sorted(self.events.items())
            if each.sequence > begin.sequence
        ]
        begin = replace(begin, removal=max(begin.removal, oldest.removal))
        return fill_page(rows, lambda key: self.events[key].body or b"", begin, wish)

    async def prune_rejected(self, before: float) -> int:
        old = [seq for seq, each in self.refused.items() if each.rejected_at < before]
        for seq in old:
            del self.refused[seq]
        return len(old)

    async def shift_retries(self, retries: Retries, step: float) -> None:
        for seq, scheduled_at in zip(retries.seqs, retries.scheduled, strict=True):
            row = self.rows[seq]
            if row.delivery.state is State.RETRYING and row.scheduled_at == scheduled_at:
                row.scheduled_at += step
                row.due_at = None if row.due_at is None else row.due_at + step

    async def shift_endpoints(
        self, step: float, stepped_at: float, known: Callable[[str], Health | None]
    ) -> None:
        now = max(stepped_at, self.clock())
        self.healths = {
            url: known(url) or moved_health(each, step) for url, each in self.healths.items()
        }
        for each in self.subscriptions.values():
            if each.released_at is not None and is_from_before(
                each.released_at, step, stepped_at, now=now
            ):
                each.released_at += step
        self.seen_at = now


@dataclass
class MemoryLooks:
    """What is asked beside the deliveries, and what retention goes by."""

    queue: MemoryWriter

    async def waiting(self, names: Iterable[str]) -> Mapping[str, Waiting]:
        rows = self.queue.rows.values()
        return {
            name: Waiting(
                sum(r.delivery.subscription == name and r.due_at is not None for r in rows),
                each.holds,
                each.url,
            )
            for name, each in self.queue.subscriptions.items()
            if name in set(names)
        }

    async def bodies(self, event_seqs: Sequence[int], most_bytes: int) -> list[tuple[int, bytes]]:
        read: list[tuple[int, bytes]] = []
        size = 0
        for number in sorted(set(event_seqs) & self.queue.events.keys()):
            body = self.queue.events[number].body
            if body is None:
                continue
            size += len(body)
            if read and size > most_bytes:
                break
            read.append((number, body))
        return read

    async def rejected(self, seq: int) -> RejectedInput | None:
        return self.queue.refused.get(seq)

    async def clock_seen_at(self) -> float | None:
        if self.queue.seen_at is not None:
            return self.queue.seen_at
        return max(self._arrivals(), default=None)

    def _arrivals(self) -> list[float]:
        accepted = [each.accepted_at for each in self.queue.events.values()]
        return accepted + [each.rejected_at for each in self.queue.refused.values()]

    def _scheduled(self) -> dict[int, float]:
        return {
            seq: row.scheduled_at
            for seq, row in sorted(self.queue.rows.items(), key=lambda item: item[1].due_at or 0.0)
            if row.delivery.state is State.RETRYING and row.due_at is not None
        }

    async def newest_decision(self) -> float:
        released = [each.released_at for each in self.queue.subscriptions.values()]
        healths = self.queue.healths.values()
        endpoints = [
            moment
            for each in healths
            for moment in (
                each.released_at, each.failing_since, each.failed_since, each.succeeded_at
            )
        ]  # fmt: skip
        decided = [moment for moment in released + endpoints if moment is not None]
        return max([*self._scheduled().values(), *decided], default=0.0)

    async def newest_retry_before(self, moment: float) -> float:
        return max((each for each in self._scheduled().values() if each <= moment), default=0.0)

    async def retries_before_step(
        self, step: float, stepped_at: float, *, now: float, certain: bool
    ) -> Retries:
        found = {
            seq: moment
            for seq, moment in self._scheduled().items()
            if is_from_before(moment, step, stepped_at, now=now, certain=certain)
        }
        return Retries(array("q", found), array("d", found.values()))

    async def evidence(self) -> Evidence:
        arrivals = self._arrivals()
        return Evidence(
            self.queue.expired_at, max(arrivals, default=None), min(arrivals, default=None)
        )

    async def used_bytes(self) -> int:
        return sum(len(each.body or b"") for each in self.queue.events.values())

    async def contents(self) -> Contents:
        return Contents(events=await self.used_bytes(), attempts=0, rejected=0, other=0, free=0)

    async def prunable(self, horizon: Horizon, cursor: Cursor) -> PruneStep:
        behind = (cursor.accepted_at, cursor.event_type, cursor.seq)
        found = sorted(
            (each.accepted_at, each.event.type, number)
            for number, each in self.queue.events.items()
            if each.accepted_at < horizon.ended
            and (each.accepted_at < horizon.known or each.body is not None)
            and self.queue.ended(number, horizon.ended)
        )
        return PruneStep(tuple(number for *at, number in found if (*at, number) > behind), None)
