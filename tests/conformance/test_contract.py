"""What every queue promises to the endpoints' tasks."""

import pytest
from queue_file import FAILED, OK, URL
from queues_under_test import NAMES, UnderTest, add, states

from relayd.core.delivery import Delivery, State, decide
from relayd.core.endpoint import Health
from relayd.core.hold import Hold
from relayd.core.outcome import Failure, Outcome
from relayd.core.release import Extra
from relayd.queue.values import Changed, Claim, Cursor, Declared, Horizon, Recording, Want

GONE = Outcome(0.1, status=410, failure=Failure.STATUS)
SCHEDULE = (100.0,)


async def claim(
    queue: UnderTest,
    *names: str,
    count: int = 10,
    busy: frozenset[int] = frozenset(),
    recovery: int = 0,
) -> Claim:
    want = Want(names or NAMES, count, queue.now, busy, recovery, backlog_first=False)
    return await queue.queue.claim(want)


async def record(
    queue: UnderTest,
    delivery: Delivery,
    outcome: Outcome,
    health: Health | None = None,
    *,
    schedule: tuple[float, ...] = SCHEDULE,
) -> bool:
    decided = decide(delivery, outcome, schedule, started_at=queue.now, now=queue.now, jitter=0.0)
    made = Recording(
        decided,
        URL,
        None if health is None else lambda: health,
        newest_release=queue.queue.newest_release,
    )
    return await queue.queue.record(made)


async def failed_once(queue: UnderTest, name: str = "books") -> int:
    seq = await add(queue, name)
    [delivery] = (await claim(queue, name)).deliveries
    await record(queue, delivery, FAILED)
    return seq


async def test_what_is_new_is_due_at_once_in_its_order(queue: UnderTest) -> None:
    seqs = [await add(queue, name) for name in ("books", "mail", "books")]
    found = await claim(queue)
    assert [each.seq for each in found.deliveries] == seqs
    assert {each.state for each in found.deliveries} == {State.PENDING}
    assert found.next_due == {}


async def test_a_claim_writes_nothing(queue: UnderTest) -> None:
    await add(queue, "books")
    first, second = await claim(queue), await claim(queue)
    assert first.deliveries == second.deliveries != ()


async def test_what_is_in_flight_is_not_found(queue: UnderTest) -> None:
    first, second = await add(queue, "books"), await add(queue, "books")
    found = await claim(queue, busy=frozenset({first}))
    assert [each.seq for each in found.deliveries] == [second]


async def test_where_more_is_due_than_wanted_the_time_to_ask_again_has_come(
    queue: UnderTest,
) -> None:
    for _ in range(3):
        await add(queue, "books")
    found = await claim(queue, count=2)
    assert len(found.deliveries) == 2
    assert found.next_due["books"] <= queue.now


async def test_only_the_subscriptions_asked_for_are_found(queue: UnderTest) -> None:
    await add(queue, "books")
    assert (await claim(queue, "mail")).deliveries == ()


async def test_a_success_ends_a_delivery(queue: UnderTest) -> None:
    seq = await add(queue, "books")
    [delivery] = (await claim(queue)).deliveries
    assert await record(queue, delivery, OK)
    assert await states(queue) == {seq: State.DELIVERED}
    assert (await claim(queue)).deliveries == ()


async def test_a_failure_is_retried_when_its_time_has_come_and_then_given_up(
    queue: UnderTest,
) -> None:
    seq = await failed_once(queue)
    found = await claim(queue)
    assert (found.deliveries, found.next_due) == ((), {"books": queue.now + SCHEDULE[0]})
    queue.now += SCHEDULE[0]
    [delivery] = (await claim(queue)).deliveries
    assert (delivery.state, delivery.attempts, delivery.step) == (State.RETRYING, 1, 1)
    assert await record(queue, delivery, FAILED)
    assert await states(queue) == {seq: State.EXHAUSTED}
    assert (await claim(queue)).next_due == {}


async def test_the_operator_releases_each_retry_once(queue: UnderTest) -> None:
    await failed_once(queue)
    await queue.queue.release("books")
    [delivery] = (await claim(queue)).deliveries
    assert delivery.extra is Extra.OPERATOR
    assert await record(queue, delivery, FAILED)
    assert (await claim(queue)).deliveries == ()
    assert set((await states(queue)).values()) == {State.RETRYING}


async def test_a_recovery_releases_each_retry_once(queue: UnderTest) -> None:
    await failed_once(queue)
    [delivery] = (await claim(queue, recovery=queue.queue.next_release())).deliveries
    assert delivery.extra is Extra.RECOVERY
    assert await record(queue, delivery, FAILED)
    assert (await claim(queue, recovery=queue.queue.next_release())).deliveries == ()


async def test_a_release_that_came_after_an_attempt_began_still_counts(queue: UnderTest) -> None:
    await add(queue, "books")
    [delivery] = (await claim(queue)).deliveries
    began_after = queue.queue.newest_release
    await queue.queue.release("books")
    decided = decide(delivery, FAILED, SCHEDULE, started_at=queue.now, now=queue.now, jitter=0.0)
    await queue.queue.record(Recording(decided, URL, None, newest_release=began_after))
    [again] = (await claim(queue)).deliveries
    assert again.extra is Extra.OPERATOR


async def test_a_410_holds_its_subscription_when_the_record_returns(queue: UnderTest) -> None:
    await add(queue, "books")
    [delivery] = (await claim(queue)).deliveries
    await record(queue, delivery, GONE)
    assert queue.queue.holds.get("books") is Hold.GONE
    assert queue.queue.holds.get("mail") is None


async def test_a_quarantined_delivery_has_ended(queue: UnderTest) -> None:
    seq = await add(queue, "books")
    assert await queue.queue.quarantine(seq, "a defect")
    assert not await queue.queue.quarantine(seq, "a defect")
    assert (await claim(queue)).deliveries == ()


async def test_releases_have_rising_numbers(queue: UnderTest) -> None:
    first = queue.queue.next_release()
    assert queue.queue.newest_release == first
    await queue.queue.release("books")
    assert first < queue.queue.newest_release < queue.queue.next_release()


@pytest.mark.parametrize("outcome", [OK, FAILED])
async def test_the_health_is_asked_for_when_it_is_written(
    queue: UnderTest, outcome: Outcome
) -> None:
    asked = []

    def health() -> Health:
        asked.append(1)
        return Health()

    await queue.queue.record_health(URL, health, ())
    assert asked == [1]
    await add(queue, "books")
    [delivery] = (await claim(queue)).deliveries
    assert await record(queue, delivery, outcome, Health())


async def test_an_attempt_that_fails_changes_nothing_of_what_was_replayed_meanwhile(
    queue: UnderTest,
) -> None:
    seq = await add(queue, "books")
    [delivery] = (await claim(queue)).deliveries
    queue.now += 1.0
    assert (await queue.queue.cancel([seq])).count == 1
    assert await queue.queue.replay([seq]) == Changed(1, frozenset({"books"}))
    replayed = (await queue.rows())[seq]
    assert not await record(queue, delivery, FAILED)
    state, attempts, step, due_at, *_ = (await queue.rows())[seq]
    assert (state, step, due_at) == (State.PENDING, 0, replayed[3])
    assert attempts == 1


async def test_a_cancelled_delivery_whose_attempt_succeeds_was_delivered(queue: UnderTest) -> None:
    seq = await add(queue, "books")
    [delivery] = (await claim(queue)).deliveries
    await queue.queue.cancel([seq])
    assert await record(queue, delivery, OK)
    assert await states(queue) == {seq: State.DELIVERED}


async def test_a_pause_holds_until_it_is_resumed(queue: UnderTest) -> None:
    assert await queue.queue.pause("books")
    assert not await queue.queue.pause("books")
    assert queue.queue.holds["books"] is Hold.PAUSED
    assert await queue.queue.resume("books") == (True, 0)
    assert queue.queue.holds["books"] is None


async def test_a_backfill_makes_each_delivery_once(queue: UnderTest) -> None:
    await add(queue, "books")
    assert await queue.queue.backfill("mail", [1, 2]) == 1
    assert await queue.queue.backfill("mail", [1, 2]) == 0


# Order: see core.order.


async def found(queue: UnderTest) -> list[int]:
    return [each.seq for each in (await claim(queue)).deliveries]


async def declared(queue: UnderTest, *, keeps_place: bool) -> None:
    await queue.queue.declare([Declared(name, URL, True, b"", keeps_place) for name in NAMES])


async def attempted(queue: UnderTest, outcome: Outcome) -> int:
    """Attempt what is first, which exhausts it if it fails; return its number."""
    delivery = (await claim(queue, count=1)).deliveries[0]
    await record(queue, delivery, outcome, schedule=())
    return delivery.seq


async def test_of_each_key_the_first_one_is_found_and_of_each_subscription(
    queue: UnderTest,
) -> None:
    first = await add(queue, "books", key="a")
    await add(queue, "books", key="a")
    others = [await add(queue, "books", key="b"), await add(queue, "mail", key="a")]
    others.append(await add(queue, "books"))
    assert await found(queue) == [first, *others]


async def test_the_next_one_has_its_turn_when_the_one_before_it_is_delivered(
    queue: UnderTest,
) -> None:
    seqs = [await add(queue, "books", key="a") for _ in range(3)]
    assert [await attempted(queue, OK) for _ in seqs] == seqs


async def test_a_retry_blocks_those_behind_it_whatever_is_released(queue: UnderTest) -> None:
    first = await add(queue, "books", key="a")
    await add(queue, "books", key="a")
    [delivery] = (await claim(queue)).deliveries
    await record(queue, delivery, FAILED)
    assert await found(queue) == []
    await queue.queue.release("books")
    assert await found(queue) == [first]
    assert (await claim(queue, busy=frozenset({first}))).deliveries == ()


async def test_an_exhausted_one_is_skipped_and_a_replay_of_it_is_unordered(
    queue: UnderTest,
) -> None:
    first, second = [await add(queue, "books", key="a") for _ in range(2)]
    await attempted(queue, FAILED)
    assert await found(queue) == [second]
    await queue.queue.replay([first])
    assert set(await found(queue)) == {first, second}


async def test_with_hold_an_exhausted_one_blocks_until_it_is_replayed_with_success(
    queue: UnderTest,
) -> None:
    await declared(queue, keeps_place=True)
    first, second = [await add(queue, "books", key="a") for _ in range(2)]
    await attempted(queue, FAILED)
    assert await found(queue) == []
    await queue.queue.replay([first])
    assert await attempted(queue, FAILED) == first
    assert await found(queue) == []
    await queue.queue.replay([first])
    assert await attempted(queue, OK) == first
    assert await found(queue) == [second]


@pytest.mark.parametrize("how", ["cancel", "skip"])
async def test_what_is_held_goes_on_once_it_is_given_up_or_the_configuration_skips(
    queue: UnderTest, how: str
) -> None:
    await declared(queue, keeps_place=True)
    first, second = [await add(queue, "books", key="a") for _ in range(2)]
    await attempted(queue, FAILED)
    if how == "cancel":
        assert await queue.queue.cancel([first]) == Changed(1, frozenset({"books"}))
        assert (await states(queue))[first] is State.CANCELLED
    else:
        await declared(queue, keeps_place=False)
        assert (await states(queue))[first] is State.EXHAUSTED
    assert await found(queue) == [second]


@pytest.mark.parametrize("holds", [False, True])
async def test_what_is_declared_last_decides_whether_an_exhausted_one_blocks(
    queue: UnderTest, holds: bool
) -> None:
    await declared(queue, keeps_place=not holds)
    first, second = [await add(queue, "books", key="a") for _ in range(2)]
    [delivery] = (await claim(queue)).deliveries
    await declared(queue, keeps_place=holds)
    await record(queue, delivery, FAILED, schedule=())
    assert await found(queue) == ([] if holds else [second])
    assert (await queue.queue.cancel([first])).count == holds


async def test_an_exhausted_one_that_is_handed_over_blocks_as_is_declared_there(
    queue: UnderTest,
) -> None:
    await queue.queue.declare(
        [Declared(name, URL, True, keeps_place=name == "books") for name in NAMES]
    )
    _, second = [await add(queue, "books", key="a") for _ in range(2)]
    await attempted(queue, FAILED)
    assert await found(queue) == []
    await queue.queue.hand_over("books", "mail", after=0, in_flight=())
    assert await found(queue) == [second]


async def test_an_exhausted_one_blocks_those_of_another_one_to_which_it_is_handed_over(
    queue: UnderTest,
) -> None:
    await declared(queue, keeps_place=True)
    first = await add(queue, "books", key="a")
    await attempted(queue, FAILED)
    behind = await add(queue, "mail", key="a")
    await queue.queue.hand_over("books", "mail", after=0, in_flight=())
    assert await found(queue) == []
    await queue.queue.cancel([first])
    assert await found(queue) == [behind]


async def test_only_an_exhausted_one_that_is_in_an_order_can_be_given_up(queue: UnderTest) -> None:
    first = await add(queue, "books")
    await attempted(queue, FAILED)
    assert (await queue.queue.cancel([first])).count == 0


@pytest.mark.parametrize("keeps_place", [False, True])
async def test_a_quarantined_one_is_as_any_that_is_exhausted(
    queue: UnderTest, keeps_place: bool
) -> None:
    await declared(queue, keeps_place=keeps_place)
    first, second = [await add(queue, "books", key="a") for _ in range(2)]
    await queue.queue.quarantine(first, "a defect")
    assert await found(queue) == ([] if keeps_place else [second])


async def test_one_that_is_cancelled_in_between_leaves_the_order(queue: UnderTest) -> None:
    first, second, third = [await add(queue, "books", key="a") for _ in range(3)]
    await queue.queue.cancel([second])
    assert await found(queue) == [first]
    await attempted(queue, OK)
    assert await found(queue) == [third]


async def test_an_exhausted_one_that_blocks_others_is_kept_whatever_its_age(
    queue: UnderTest,
) -> None:
    await declared(queue, keeps_place=True)
    first = await add(queue, "books", key="a")
    await add(queue, "books", key="a")
    await attempted(queue, FAILED)
    queue.now += 1000.0
    horizon = Horizon(queue.now, queue.now)
    async with queue.queue.survey() as survey:
        assert (await survey.prunable(horizon, Cursor())).events == ()
    assert await queue.queue.prune(horizon, [1]) == 0
    await queue.queue.cancel([first])
    queue.now += 1000.0
    assert await queue.queue.prune(Horizon(queue.now, queue.now), [1]) == 1


async def test_a_backlog_is_handed_over_in_its_order(queue: UnderTest) -> None:
    seqs = [await add(queue, "books", key="a") for _ in range(2)]
    newer = await add(queue, "mail", key="a")
    await queue.queue.hand_over("books", "mail", after=0, in_flight=())
    assert await found(queue) == seqs[:1]
    assert [await attempted(queue, OK) for _ in range(3)] == [*seqs, newer]


async def test_what_is_behind_one_in_flight_is_not_handed_over_before_it(queue: UnderTest) -> None:
    first = await add(queue, "books", key="a")
    await add(queue, "books", key="a")
    step = await queue.queue.hand_over("books", "mail", after=0, in_flight=(first,))
    assert (step.moved, step.in_flight) == (0, 2)


async def test_a_retry_that_a_rename_put_behind_another_is_released_only_when_it_is_its_turn(
    queue: UnderTest,
) -> None:
    older = await add(queue, "books", key="a")
    newer = await add(queue, "mail", key="a")
    [delivery] = (await claim(queue, "mail")).deliveries
    await record(queue, delivery, FAILED)
    recovery = queue.queue.next_release()
    elsewhere = [Declared("mail", "https://other.example/hook", True)]
    assert await queue.queue.declare(elsewhere) == {"mail": 1}
    step = await queue.queue.hand_over("books", "mail", after=0, in_flight=())
    assert (step.moved, step.released) == (1, 0)
    assert await queue.queue.release("mail") == 0
    # A retry that is in no order may be due later: what is released is looked for.
    await failed_once(queue, "books")
    await queue.queue.hand_over("books", "mail", after=2, in_flight=())
    await queue.queue.release("mail")
    found = await claim(queue, "mail", recovery=recovery)
    assert older in {each.seq for each in found.deliveries}
    assert newer not in {each.seq for each in found.deliveries}
    busy = frozenset(each.seq for each in found.deliveries)
    found = await claim(queue, "mail", busy=busy, recovery=recovery)
    # Else the endpoint would ask again at once, without end.
    assert found.deliveries == ()
    assert found.next_due.get("mail", queue.now + 1) > queue.now
    await queue.queue.cancel([older])
    [released] = (await claim(queue, "mail", busy=busy)).deliveries
    assert (released.seq, released.extra) == (newer, Extra.OPERATOR)


async def test_what_is_handed_over_behind_another_is_not_counted_as_released(
    queue: UnderTest,
) -> None:
    first = await add(queue, "mail", key="a")
    second = await add(queue, "books", key="a")
    [delivery] = (await claim(queue, "books")).deliveries
    await record(queue, delivery, FAILED)
    await queue.queue.release("books")
    step = await queue.queue.hand_over("books", "mail", after=0, in_flight=())
    assert (step.moved, step.waiting, step.released) == (1, 1, 0)
    assert await found(queue) == [first]
    await queue.queue.cancel([first])
    assert await found(queue) == [second]


async def test_a_retry_can_be_released_alone_and_once(queue: UnderTest) -> None:
    one, other = await failed_once(queue), await failed_once(queue)
    pending = await add(queue, "mail")
    changed = await queue.queue.retry([one, pending, 99])
    assert changed == Changed(1, frozenset({"books", "mail"}))
    [delivery] = (await claim(queue, "books")).deliveries
    assert (delivery.seq, delivery.extra) == (one, Extra.OPERATOR)
    assert await record(queue, delivery, FAILED)
    assert (await claim(queue, "books")).deliveries == ()
    # The other one is still released by what releases the subscription.
    await queue.queue.release("books")
    assert {each.seq for each in (await claim(queue, "books")).deliveries} == {one, other}


async def test_one_that_is_released_while_its_attempt_goes_on_is_attempted_again(
    queue: UnderTest,
) -> None:
    seq = await failed_once(queue)
    queue.now += SCHEDULE[0]
    [delivery] = (await claim(queue)).deliveries
    began_after = queue.queue.newest_release
    await queue.queue.retry([seq])
    decided = decide(
        delivery, FAILED, (*SCHEDULE, 100.0), started_at=queue.now, now=queue.now, jitter=0.0
    )
    await queue.queue.record(Recording(decided, URL, None, newest_release=began_after))
    [again] = (await claim(queue)).deliveries
    assert again.extra is Extra.OPERATOR
    assert await record(queue, again, FAILED)
    assert (await claim(queue)).deliveries == ()


async def test_a_release_of_one_that_is_behind_leaves_it_there(queue: UnderTest) -> None:
    first, second = await add(queue, "books", key="k"), await add(queue, "books", key="k")
    [delivery] = (await claim(queue)).deliveries
    await record(queue, delivery, FAILED)
    assert await queue.queue.retry([second]) == Changed(0, frozenset({"books"}))
    assert (await claim(queue)).deliveries == ()
    await queue.queue.retry([first, second])
    assert [each.seq for each in (await claim(queue)).deliveries] == [first]


async def test_what_was_delivered_is_pending_again_only_where_that_is_asked_for(
    queue: UnderTest,
) -> None:
    seq = await add(queue, "books", key="k")
    [delivery] = (await claim(queue)).deliveries
    await record(queue, delivery, OK)
    assert await queue.queue.replay([seq]) == Changed(0, frozenset())
    assert await states(queue) == {seq: State.DELIVERED}
    assert await queue.queue.replay([seq], delivered=True) == Changed(1, frozenset({"books"}))
    assert await queue.queue.replay([seq], delivered=True) == Changed(0, frozenset())
    # It is in no order, and counts on.
    other = await add(queue, "books", key="k")
    found = {each.seq: each for each in (await claim(queue)).deliveries}
    assert found.keys() == {seq, other}
    again = found[seq]
    assert (again.state, again.attempts, again.step, again.id) == (
        State.PENDING,
        1,
        0,
        delivery.id,
    )
    assert again.sequence == delivery.sequence
    # Retention leaves it, however old it is.
    queue.now += 1e7
    horizon = Horizon(queue.now - 10, queue.now - 10)
    assert await queue.queue.prune(horizon, [1]) == 0
    assert await record(queue, again, FAILED)
    assert (await states(queue))[seq] is State.RETRYING
