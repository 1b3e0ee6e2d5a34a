"""What a run of torture left, and which invariant it broke."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from torture.configuration import (
    HOPELESS_RETRIES_S,
    LIMIT,
    OPERATED,
    PERIOD_S,
    PLACES,
    SECRET,
    WANTED,
)
from torture.observation import Observed
from torture.operated import violations_of_operations
from torture.plan import KILLS, LONG_RETENTION_S, Act, Fault, Plan
from torture.recording import PAYLOAD, Produced, Request, event_type
from torture.repeats import violations_of_repeats
from torture.timeline import Timeline

from relayd.core.retry import JITTER

MEMORY = 150_000_000
HELPER_MEMORY = 30_000_000
LOADER_MEMORY = 60_000_000
OPEN_FILES = 200
LOG_LINES_PER_S = 400

DEFECTS = (
    "defect",
    "task_restarting",
    "attempt_internal_error",
    "attempt_not_recorded",
    "delivery_not_quarantined",
    "claim_internal_error",
    "command_failed",
    "reload_failed",
    "event_internal_error",
)
"""What relayd logs when it contains a defect of its own."""

WINDOW_S = 5.0
IN_WINDOW = round((LIMIT // 100 + LIMIT / PERIOD_S * WINDOW_S) * 1.1)
"""Counted over a shorter window, which holds in a short run, too. A tenth is for the arrivals'
jitter on a machine that is busy."""


@dataclass(slots=True)
class Report:
    """What a run left, for `violations` to judge."""

    plan: Plan
    produced: Produced
    requests: Mapping[str, Sequence[Request]]
    faults: Counter[Fault] = field(default_factory=Counter)
    acts: Counter[Act] = field(default_factory=Counter)
    timeline: Timeline = field(default_factory=Timeline, repr=False)
    observed: Observed = field(default_factory=Observed, repr=False)
    interruptions: list[float] = field(default_factory=list)
    """When relayd was killed, or attempts may have been cut off otherwise."""
    still_in_spool: set[str] = field(default_factory=set)
    unended: dict[str, str] = field(default_factory=dict)
    """Deliveries that did not end as they must, each with its state."""
    integrity: str = "ok"
    peak_memory: int = 0
    peak_helper: int = 0
    """The most that one of its readers had, or their template, in bytes."""
    peak_loader: int = 0
    """The most that a process had that read its configuration, in bytes."""
    open_files: int = 0
    log: str = field(default="", repr=False)
    log_lines_per_s: float = 0.0
    troubles: list[str] = field(default_factory=list)
    """What went wrong with the run itself, and is no fault of the plan."""

    @property
    def kills(self) -> int:
        """How often relayd was killed."""
        return sum(count for fault, count in self.faults.items() if fault in KILLS)

    def taken(self, name: str) -> set[str]:
        """Return the events to which a receiver answered 2xx."""
        return {each.event_id for each in self.requests[name] if each.status == 200}

    def wanted(self, name: str) -> set[str]:
        """Return the committed events to which a receiver subscribed."""
        types = WANTED[name]
        return {each for each in self.produced.committed if event_type(each) in types}


def violations(report: Report) -> list[str]:
    """Return each invariant that a run broke, in words."""
    found = [
        *report.troubles,
        *_of_events(report),
        *_of_operated_events(report),
        *_of_attempts(report),
        *violations_of_order(report.requests.get("ordered", ()), report.observed),
        *violations_of_repeats(report.requests, report.observed, report.interruptions),
        *violations_of_operations(
            {place: report.requests.get(place, ()) for place in PLACES},
            report.timeline,
            report.interruptions,
        ),
        *_of_resources(report),
    ]
    if report.integrity != "ok":
        found.append(f"the queue is damaged: {report.integrity}")
    if SECRET in report.log or PAYLOAD in report.log:
        found.append("the log shows a secret or a payload")
    if '"quarantined"' in report.log:
        found.append("it was killed by others, and put that down to an event")
    found += (f"the log has {each}" for each in DEFECTS if f'"event": "{each}"' in report.log)
    before, traceback, rest = report.log.partition("Traceback")
    if traceback:
        found.append(f"the log has a traceback: {before[-300:]}{traceback}{rest[:3000]}")
    if report.observed.gaps:
        found.append(f"attempts are not numbered 1, 2, 3…: {_some(report.observed.gaps)}")
    return found


def _of_events(report: Report) -> Iterator[str]:
    made = report.produced.committed | report.produced.in_doubt
    for name, types in WANTED.items():
        reached = report.taken(name)
        if name == "hopeless":
            reached = {each.event_id for each in report.requests[name]}
        waits = {each for each in report.wanted(name) if f"{each} to {name}" in report.unended}
        if lost := report.wanted(name) - reached - report.still_in_spool - waits:
            yield f"lost: {len(lost)} committed events never reached {name}: {_some(lost)}"
        known = {each for each in made if event_type(each) in types}
        if phantoms := {each.event_id for each in report.requests[name]} - known:
            yield f"phantoms: {len(phantoms)} events nobody made: {_some(phantoms)}"
    if report.unended:
        yield f"not ended as they must: {len(report.unended)}: {_some(report.unended)}"
    if report.still_in_spool:
        yield f"left in the spools: {_some(report.still_in_spool)}"


def _of_operated_events(report: Report) -> Iterator[str]:
    """Judge those subscriptions that the operator moves and stops."""
    produced, observed = report.produced, report.observed
    made = produced.committed | produced.in_doubt
    made.update(event_id for ids in produced.resubmitted.values() for event_id in ids)
    requests = [each for place in PLACES for each in report.requests.get(place, ())]
    for name, types in OPERATED.items():
        mine = [each for each in requests if each.subscription == name and not each.is_test]
        reached = {each.event_id for each in mine if each.status == 200}
        wanted = {each for each in produced.committed if event_type(each) in types}
        lost = wanted - reached - report.still_in_spool
        lost -= {each for each in lost if f"{each} to {name}" in report.unended}
        if report.plan.retention_s != LONG_RETENTION_S:
            # Else all that was given up was sent again at the end.
            lost -= {each for each in lost if (each, name) in observed.given_up}
        if lost:
            yield f"lost: {len(lost)} committed events never reached {name}: {_some(lost)}"
        known = {each for each in made if event_type(each) in types}
        if phantoms := {each.event_id for each in mine} - known:
            yield f"phantoms at {name}: {len(phantoms)} events nobody made: {_some(phantoms)}"
    if strangers := {each.subscription for each in requests} - OPERATED.keys():
        yield f"requests of nobody's: {_some(strangers)}"
    received = {each.event_id for each in requests}
    wrong = []
    for ids in produced.resubmitted.values():
        count = len(received.intersection(ids))
        if count != 1 and not (count == 0 and report.plan.retention_s != LONG_RETENTION_S):
            wrong.append(f"{count} of {ids}")
    if wrong:
        yield f"resubmitted as one event, and made {'; '.join(wrong[:3])}; {len(wrong)} such rows"


def _of_attempts(report: Report) -> Iterator[str]:
    for name in WANTED:
        requests = report.requests[name]
        deliveries: dict[str, list[Request]] = defaultdict(list)
        for each in requests:
            deliveries[each.event_id].append(each)
        wrong: list[str] = []
        for event_id, attempts in deliveries.items():
            found: list[str] = []
            if name == "hopeless" and f"{event_id} to {name}" not in report.unended:
                found += _of_a_schedule(attempts)
            wrong += (f"{event_id} to {name}: {each}" for each in found)
        yield from wrong[:5]
        if len(wrong) > 5:
            yield f"and {len(wrong) - 5} more like these"
    most = _most_in_a_window(sorted(each.at for each in report.requests["limited"]))
    if most > IN_WINDOW:
        yield f"too fast: {most} requests within {WINDOW_S} s, where {IN_WINDOW} may be"


def _of_a_schedule(attempts: Sequence[Request]) -> Iterator[str]:
    """Judge the attempts of a delivery that failed each time, at a receiver that never recovered."""
    last_at = {each.attempt: each.at for each in attempts}
    first_at = {each.attempt: each.at for each in reversed(attempts)}
    if list(last_at) != list(range(1, len(HOPELESS_RETRIES_S) + 2)):
        yield f"attempts {list(last_at)}, where its schedule has {len(HOPELESS_RETRIES_S) + 1}"
        return
    for number, wait_s in enumerate(HOPELESS_RETRIES_S, start=1):
        waited_s = first_at[number + 1] - last_at[number]
        if waited_s < wait_s * (1 - JITTER) - 0.001:
            yield f"attempt {number + 1} came after {waited_s:.3f} s, and not after {wait_s} s"


def violations_of_order(requests: Sequence[Request], observed: Observed) -> Iterator[str]:
    """Return where an older event of a lane came after a newer one of it, in words.

    What was given up may be sent again at any time.
    """
    newest: dict[str, Request] = {}
    wrong = []
    for each in requests:
        if each.is_test or (each.event_id, "ordered") in observed.given_up:
            continue
        before = newest.setdefault(each.lane, each)
        if each.sequence < before.sequence:
            wrong.append(f"{each.event_id} (attempt {each.attempt}) after {before.event_id}")
        else:
            newest[each.lane] = each
        if not each.sequence:
            wrong.append(f"{each.event_id} has no number")
    yield from (f"out of its order: {each}" for each in wrong[:5])
    if len(wrong) > 5:
        yield f"and {len(wrong) - 5} more like these"


def _of_resources(report: Report) -> Iterator[str]:
    if report.peak_memory > MEMORY:
        yield f"memory: {report.peak_memory} bytes"
    if report.peak_helper > HELPER_MEMORY:
        yield f"memory of a reader: {report.peak_helper} bytes"
    if report.peak_loader > LOADER_MEMORY:
        yield f"memory of a process that read the configuration: {report.peak_loader} bytes"
    if report.open_files > OPEN_FILES:
        yield f"open files: {report.open_files}"
    if report.log_lines_per_s > LOG_LINES_PER_S:
        yield f"log: {report.log_lines_per_s:.0f} lines a second"


def _most_in_a_window(times: Sequence[float]) -> int:
    most = begin = 0
    for end, at in enumerate(times):
        while times[begin] <= at - WINDOW_S:
            begin += 1
        most = max(most, end - begin + 1)
    return most


def _some(ids: object) -> str:
    return ", ".join(sorted(ids)[:5])  # type: ignore[call-overload]  # strings, in whatever holds them
