"""Judges the subscriptions that the operator moves, stops and cancels, and the places they lead to.

Exactly, up to what was in flight: what was stopped starts nothing after the answer, no limit is
exceeded from the reload on that sets it.
"""

from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from operator import attrgetter

from torture.configuration import IN_FLIGHT, OPERATED, TIMEOUT_S, Layout
from torture.recording import Request
from torture.timeline import History, Timeline

from relayd.core.token_bucket import Rate

LATE_S = 1.5
"""How long what began before a stop may be on its way to the receiver, on a busy machine."""

STOPPED_S = 1.5
"""And how much longer, when the process itself was stopped meanwhile (SIGSTOP)."""

_MOST = max(IN_FLIGHT)


def violations_of_operations(
    requests: Mapping[str, Sequence[Request]],
    timeline: Timeline,
    interruptions: Sequence[float],
) -> Iterator[str]:
    """Return what the operator did and relayd did not obey, in words."""
    everything = sorted(
        (each for some in requests.values() for each in some if not each.is_test),
        key=attrgetter("at"),
    )
    yield from _of_cancellations(everything, timeline)
    for place, some in requests.items():
        arrivals = sorted(some, key=attrgetter("at"))
        yield from _of_stops(place, [each for each in arrivals if not each.is_test], timeline)
        yield from _of_rate(place, arrivals, timeline.layouts)
        yield from _of_in_flight(
            place,
            [each for each in arrivals if not each.is_test],
            timeline.layouts,
            sorted(interruptions),
        )
    samples = Counter(
        each.subscription for some in requests.values() for each in some if each.is_test
    )
    ids = {each.delivery_id for some in requests.values() for each in some if each.is_test}
    if len(ids) > timeline.tests.total():
        yield f"samples sent: {samples}, and asked for: {timeline.tests}"


def _of_stops(place: str, requests: Sequence[Request], timeline: Timeline) -> Iterator[str]:
    """Judge requests of a subscription that was paused, inactive, or led elsewhere by then."""
    for name in OPERATED:
        spans = timeline.allowed(name, place)
        begins = [since for since, _ in spans]
        late: defaultdict[float, list[Request]] = defaultdict(list)
        known: set[tuple[str, int]] = set()
        for each in requests:
            if each.subscription != name:
                continue
            number = bisect_right(begins, each.at) - 1
            stopped = spans[number][1] if number >= 0 else -1e9
            key = each.delivery_id, each.attempt
            # One that is sent once more on another connection was in flight before.
            if each.at > stopped and key not in known:
                late[stopped].append(each)
            known.add(key)
        for stopped, some in late.items():
            most = max(each.at for each in some) - stopped
            if most > LATE_S + STOPPED_S:
                yield f"{name} got {len(some)} at {place} up to {most:.2f} s after it was stopped there"
            elif len(some) > _MOST:
                yield f"{name} got {len(some)} at {place} after it was stopped there, {_MOST} in flight"


def _of_cancellations(requests: Sequence[Request], timeline: Timeline) -> Iterator[str]:
    by_delivery: defaultdict[int, list[Request]] = defaultdict(list)
    for each in requests:
        by_delivery[each.delivery_seq].append(each)
    for order in timeline.cancellations:
        late: set[int] = set()
        known = 0
        for seq in order.asked:
            before = [one for one in by_delivery[seq] if one.at <= order.answered]
            # Its receiver had not answered yet: relayd had it in flight.
            open_then = any(one.ended > order.answered for one in before)
            known += open_then
            if seq not in order.cancelled or open_then:
                continue
            replays = timeline.replays_of(seq, order.subscription)
            until = min((at for at in replays if at > order.answered), default=1e12)
            seen = {one.attempt for one in before}
            late.update(
                one.delivery_seq
                for one in by_delivery[seq]
                if order.answered < one.at < until and one.attempt not in seen
            )
        # One whose receiver is still busy with it may have timed out at relayd, and is not in flight.
        if len(late) > max(0, order.in_flight - known):
            yield (
                f"{len(late)} of {order.subscription} sent after they were cancelled, where"
                f" {order.in_flight} were in flight, {known} of them at their receiver: {sorted(late)[:5]}"
            )


def _of_rate(place: str, arrivals: Sequence[Request], layouts: History[Layout]) -> Iterator[str]:
    """Judge the limit with a bucket of the receiver's own, which holds what may be on its way, too.

    It has the rate that was in force at each moment, and the higher one while a reload was under
    way. A reload grants nothing.
    """
    spans = [(since, until, layout.rate[place]) for since, until, layout in layouts.spans()]
    moments = sorted({at for since, until, _ in spans for at in (since, until)})
    arrivals_at = [each.at for each in arrivals]
    if not arrivals_at:
        return
    at = arrivals_at[0] - 60
    # Twice: also of the process before this one, which was killed.
    slack = 2 * _MOST + 2
    tokens = float(slack)
    too_many = 0
    worst = 0.0
    pending = iter([each for each in moments if at < each < float("inf")])
    change = next(pending, None)
    refill, burst = _rate_between(spans, at, at)
    for arrived in arrivals_at:
        while change is not None and change <= arrived:
            tokens = min(burst + slack, tokens + (change - at) * refill)
            at = change
            change = next(pending, None)
            until = arrived if change is None else change
            refill, burst = _rate_between(spans, at, until)
            tokens = min(tokens, burst + slack)
        tokens = min(burst + slack, tokens + (arrived - at) * refill) - 1
        at = arrived
        if tokens < 0:
            too_many += 1
            worst = min(worst, tokens)
            tokens = 0
    if too_many:
        yield f"too fast: {too_many} requests came to {place} beyond the limit in force"


def _rate_between(
    spans: Sequence[tuple[float, float, Rate]], begin: float, end: float
) -> tuple[float, float]:
    middle = (begin + end) / 2
    rates = [rate for since, until, rate in spans if since <= middle <= until]
    return max(each.refill_per_s for each in rates), max(each.burst for each in rates)


def _of_in_flight(
    place: str,
    requests: Sequence[Request],
    layouts: History[Layout],
    interruptions: Sequence[float],
) -> Iterator[str]:
    """Judge how many requests were open at a time, as their receiver saw it."""
    spans = [(since, until, layout.in_flight[place]) for since, until, layout in layouts.spans()]
    open_now: list[Request] = []
    wrong: list[str] = []
    for each in requests:
        number = bisect_right(interruptions, each.at) - 1
        interrupted = interruptions[number] if number >= 0 else float("-inf")
        open_now = [
            one
            for one in open_now
            # After half of its time limit, relayd may have given it up already.
            if one.ended > each.at and one.at > interrupted and each.at - one.at < TIMEOUT_S / 2
        ]
        open_now.append(each)
        if each.at - interrupted < LATE_S:
            continue  # those of the killed process may still come
        if len(open_now) > 1:
            since, until = each.at - LATE_S, each.at
            most = max(value for begin, end, value in spans if begin <= until and end >= since)
            if len(open_now) > most:
                wrong.append(f"{len(open_now)} requests open at {place}, where {most} may be")
    yield from wrong[:2]
    if len(wrong) > 2:
        yield f"and {len(wrong) - 2} more at {place}"
