"""Judges each delivery's requests: their bytes, their numbers, and whether any came twice.

Exactly, that is for each repetition: a request may come again under the same number only when
relayd was interrupted in between, or when the receiver had closed the connection without a byte.
One that was answered 2xx may be followed by another only where relayd recorded it as a failure.
"""

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from torture.configuration import IN_FLIGHT, MAX_IN_FLIGHT, PLACES, WANTED
from torture.observation import Observed
from torture.recording import Request

TRANSIT_S = 1.5
"""How long a request may be on its way to a receiver, on a busy machine."""

CUT_OFF = MAX_IN_FLIGHT * len(WANTED) + max(IN_FLIGHT) * len(PLACES)
"""Attempts in flight at all endpoints together, which one interruption may cut off."""


def violations_of_repeats(
    requests: Mapping[str, Sequence[Request]],
    observed: Observed,
    interruptions: Sequence[float],
) -> Iterator[str]:
    """Return what is wrong with any delivery's requests, in words."""
    moments = sorted(interruptions)
    cut_off: Counter[float] = Counter()
    wrong: list[str] = []
    for seq, attempts in _by_delivery(requests).items():
        found = [*_of_one(attempts), *_of_numbers(seq, attempts, observed)]
        for before, after in pairwise(attempts):
            if before.attempt == after.attempt:
                if before.closed:
                    continue
                # One that was on its way when relayd was killed may come a moment later.
                first = bisect_left(moments, before.at - TRANSIT_S)
                if first == len(moments) or moments[first] > after.at:
                    found.append(
                        f"attempt {after.attempt} made again after {after.at - before.at:.3f} s"
                    )
                else:
                    cut_off[moments[first]] += 1
            elif before.status == 200 and (seq, before.attempt) not in observed.failed:
                found.append(f"sent again after attempt {before.attempt} was answered 200")
        name = attempts[0].subscription
        wrong += (f"delivery {seq} ({attempts[0].event_id}) {name}: {each}" for each in found)
    yield from wrong[:8]
    if len(wrong) > 8:
        yield f"and {len(wrong) - 8} more like these"
    for moment, count in cut_off.items():
        if count > CUT_OFF:
            yield f"attempts made again: {count}, where at most {CUT_OFF} were cut off at {moment}"


def _by_delivery(requests: Mapping[str, Sequence[Request]]) -> dict[int, list[Request]]:
    """Return each delivery's requests, at whatever receiver, in the order in which they came."""
    deliveries: defaultdict[int, list[Request]] = defaultdict(list)
    for each in requests.values():
        for request in each:
            if not request.is_test:
                deliveries[request.delivery_seq].append(request)
    for attempts in deliveries.values():
        if len(attempts) > 1:
            attempts.sort(key=lambda each: each.at)
    return deliveries


def _of_one(attempts: Sequence[Request]) -> Iterator[str]:
    if len({(each.body_hash, each.delivery_id, each.subscription) for each in attempts}) > 1:
        yield "attempts differ in body, id or subscription"
    if not all(each.signature_ok for each in attempts):
        yield "a wrong signature"
    numbers = [each.attempt for each in attempts]
    if numbers != sorted(numbers):
        yield f"attempts out of order: {numbers}"


def _of_numbers(seq: int, attempts: Sequence[Request], observed: Observed) -> Iterator[str]:
    """Judge the numbers: what is missing did not come so far as to be answered."""
    seen = {each.attempt for each in attempts}
    for number in range(1, attempts[-1].attempt):
        if number not in seen:
            status, failure = observed.failed.get((seq, number), (None, ""))
            if not failure or status is not None:
                yield f"attempt {number} never came; relayd recorded {failure or 'no failure'} {status}"
    for each in attempts:
        status, failure = observed.failed.get((seq, each.attempt), (None, ""))
        if status is not None and status not in {
            other.status for other in attempts if other.attempt == each.attempt
        }:
            yield f"attempt {each.attempt} was answered {each.status}, and recorded as {status}"
