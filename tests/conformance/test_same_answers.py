"""The queue in memory answers as the SQLite one does, whatever is done to both."""

import tempfile
from pathlib import Path

import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from queue_file import FAILED, OK, URL
from queues_under_test import NAMES, InMemory, InSQLite, UnderTest

from relayd.core.delivery import Delivery, decide
from relayd.core.outcome import Outcome
from relayd.queue.values import Claim, Recording, Want

SCHEDULE = (10.0, 60.0)

STEPS = st.one_of(
    st.tuples(st.just("add"), st.sampled_from(NAMES)),
    st.tuples(st.just("attempt"), st.sampled_from([OK, FAILED])),
    st.tuples(st.just("release"), st.sampled_from(NAMES)),
    st.tuples(st.just("recover"), st.booleans()),
    st.tuples(st.just("wait"), st.sampled_from([1.0, 11.0, 70.0])),
    st.tuples(st.just("quarantine"), st.integers(1, 4)),
)


def shown(each: Delivery) -> tuple[object, ...]:
    return (
        each.seq,
        each.subscription,
        each.state,
        each.attempts,
        each.step,
        each.due_at,
        each.extra,
    )


async def attempt(under_test: UnderTest, claim: Claim, outcome: Outcome) -> list[bool]:
    now, queue = under_test.now, under_test.queue
    stands = []
    for each in claim.deliveries:
        decided = decide(each, outcome, SCHEDULE, started_at=now, now=now, jitter=0.0)
        stands.append(
            await queue.record(Recording(decided, URL, None, release=queue.newest_release))
        )
    return stands


async def compare(steps: list[tuple[str, object]]) -> None:
    with tempfile.TemporaryDirectory(prefix="relayd-conformance-") as folder:
        async with InSQLite.opened(Path(folder) / "queue.db") as in_sqlite:
            both: list[UnderTest] = [in_sqlite, InMemory()]
            recovery = 0
            for step, value in steps:
                done: list[object] = []
                if step == "recover":
                    [number, same] = [each.queue.next_release() for each in both]
                    assert number == same
                    recovery = number if value else 0
                want = Want(NAMES, 100, both[0].now, frozenset(), recovery, backlog_first=False)
                claims = [await each.queue.claim(want) for each in both]
                [found, in_memory] = [[shown(d) for d in claim.deliveries] for claim in claims]
                assert found == in_memory
                for each, claim in zip(both, claims, strict=True):
                    match step, value:
                        case "add", str(name):
                            done.append(await each.add(name))
                        case "attempt", Outcome() as outcome:
                            done.append(await attempt(each, claim, outcome))
                        case "release", str(name):
                            await each.release(name)
                        case "wait", float(seconds):
                            each.now += seconds
                        case "quarantine", int(seq) if seq in await each.states():
                            done.append(await each.queue.quarantine(seq, "a defect"))
                assert done[:1] == done[1:]
                assert both[0].queue.newest_release == both[1].queue.newest_release


@settings(max_examples=25, deadline=None)
@given(st.lists(STEPS, min_size=5, max_size=25))
def test_the_same_steps_find_the_same_deliveries(steps: list[tuple[str, object]]) -> None:
    trio.run(compare, steps)
