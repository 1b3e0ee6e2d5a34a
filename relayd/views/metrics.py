"""The metrics of `/metrics`: of the queue's figures, and of what the daemon says of itself.

No label has a URL: an endpoint is its scheme and host. Beyond `MOST_SERIES` subscriptions or endpoints,
the others are summed up as `(other)`, so that no scrape grows without end.
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from relayd import __version__
from relayd.core.advice import STATUS_ADVICE
from relayd.core.delivery import State
from relayd.core.durations import BOUNDS_MS
from relayd.core.endpoint import endpoint_name
from relayd.core.exposition import Histogram, Kind, Metric
from relayd.core.outcome import Failure
from relayd.queue.overview_values import AttemptTotals, EndpointStanding, Overview, Totals
from relayd.views.in_force import Answer, not_in_force
from relayd.views.status import Live, bucket_of, endpoint_state

MOST_SERIES: Final = 1_000
OTHER: Final = "(other)"
"""The label of all others; no subscription is named so."""

_STATUSES: Final = frozenset({*STATUS_ADVICE, 410})
"""Those that are told apart: a receiver that answers with ever another one makes no more series."""

_OUTCOMES: Final = (State.DELIVERED, State.RETRYING, State.EXHAUSTED)


@dataclass(frozen=True, slots=True)
class MetricFacts:
    """What a scrape is made of. `now` and `loaded_at` are Unix seconds.

    `overview` and `totals` are None where the queue could not be read in time, `live` and `in_force` where
    the daemon did not answer. `inbound` has the requests of each entry since the web process started, by what
    became of them.
    """

    now: float
    loaded_at: float | None
    overview: Overview | None
    totals: Totals | None
    live: Live | None
    in_force: Answer | None
    inbound: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


def metrics(facts: MetricFacts) -> list[Metric]:
    """Return all metrics, those without a value too."""
    found = [*_process(facts)]
    if facts.totals is not None:
        known = () if facts.live is None else [each["name"] for each in facts.live["sources"]]
        found += _totals(facts.totals, known)
    if facts.overview is not None:
        names = [] if facts.totals is None else list(facts.totals.attempts)
        found += _subscriptions(facts.overview, facts.now, names)
        found += _endpoints(facts.overview, facts.live, facts.now)
        found += _queue(facts.overview)
    if facts.live is not None:
        found += _sources(facts.live)
    requests = Metric(
        "relayd_inbound_requests",
        Kind.COUNTER,
        "Webhooks that came in by an entry of inbound:, by what became of them.",
    )
    for entry, results in facts.inbound.items():
        for result, count in results.items():
            requests.add(count, entry=entry, result=result)
    found.append(requests)
    return found


def _one(name: str, text: str, value: float | None, unit: str = "") -> Metric:
    metric = Metric(name, Kind.GAUGE, text, unit)
    if value is not None:
        metric.add(value)
    return metric


def _process(facts: MetricFacts) -> Iterable[Metric]:
    live = facts.live
    yield _one("relayd_up", "1 if the daemon answers.", int(live is not None))
    yield _one(
        "relayd_queue_up", "1 if the queue could be read in time.", int(facts.overview is not None)
    )
    build = Metric("relayd_build", Kind.INFO, "The version of the web process.")
    build.add(1, version=__version__)
    yield build
    yield _one(
        "relayd_start_time_seconds",
        "When the daemon started, in Unix seconds.",
        None if live is None else live["started_at"],
        "seconds",
    )
    yield _one(
        "relayd_config_loaded",
        "1 if the configuration on disk is what is in force.",
        None if facts.in_force is None else int(not_in_force(facts.in_force) is None),
    )
    yield _one(
        "relayd_config_load_timestamp_seconds",
        "When the configuration in force was loaded, in Unix seconds.",
        facts.loaded_at,
        "seconds",
    )
    queue: Mapping[str, Any] = {} if live is None else live["queue"]
    yield _one(
        "relayd_queue_max_bytes",
        "queue.max_size, in bytes.",
        queue.get("max_size_bytes"),
        "bytes",
    )
    yield _one(
        "relayd_queue_too_large",
        "1 if it is larger than queue.max_size, and nothing more can be removed.",
        None if live is None else int(queue.get("too_large", False)),
    )
    yield _one(
        "relayd_disk_reserve_in_use",
        "1 if the disk is full: nothing is accepted until there is room.",
        None if live is None else int(queue.get("reserve_in_use", False)),
    )


def _totals(totals: Totals, sources: Iterable[str]) -> Iterable[Metric]:
    attempts = Metric(
        "relayd_attempts",
        Kind.COUNTER,
        "Attempts, by what they made of their delivery; retrying and exhausted ones failed.",
    )
    durations = Metric(
        "relayd_attempt_duration_seconds",
        Kind.HISTOGRAM,
        "How long attempts took, failed ones too.",
        "seconds",
    )
    failed = Metric(
        "relayd_failed_attempts",
        Kind.COUNTER,
        "Attempts that failed, by cause; it begins with the first failure for each cause.",
    )
    for name, each in _bounded(totals.attempts).items():
        for state in _OUTCOMES:
            attempts.add(each.states[state], subscription=name, outcome=state.value)
        durations.add(_histogram(each), subscription=name)
        causes: Counter[str] = Counter()
        for (cause, status), count in each.causes.items():
            causes[_cause_label(cause, status)] += count
        for cause, count in sorted(causes.items()):
            failed.add(count, subscription=name, cause=cause)
    yield attempts
    yield failed
    yield durations
    accepted = Metric("relayd_events_accepted", Kind.COUNTER, "Events accepted.")
    rejected = Metric("relayd_rejected", Kind.COUNTER, "Input that could not be an event.")
    # With those of which nothing came yet: a counter that begins with 1 has not risen for an alert.
    for source in sorted({*sources, *totals.accepted, *totals.rejected}):
        accepted.add(totals.accepted.get(source, 0), source=source)
        rejected.add(totals.rejected.get(source, 0), source=source)
    yield accepted
    yield rejected


def _cause_label(cause: str, status: int) -> str:
    """Return a cause as a label has it: `status_503`, or `status_5xx` for what has no advice of its own."""
    if cause != Failure.STATUS:
        return cause
    return f"{cause}_{status if status in _STATUSES else f'{str(status)[0]}xx'}"


def _bounded(attempts: Mapping[str, AttemptTotals]) -> dict[str, AttemptTotals]:
    # By who came first, so that nobody's attempts move to the others, or back: a counter would fall.
    found: dict[str, AttemptTotals] = {}
    for name, each in attempts.items():
        if len(found) < MOST_SERIES:
            found[name] = each
            continue
        sums = found.setdefault(OTHER, AttemptTotals())
        sums.states.update(each.states)
        sums.within_ms.update(each.within_ms)
        sums.seconds += each.seconds
        sums.causes.update(each.causes)
    return found


def _histogram(totals: AttemptTotals) -> Histogram:
    buckets: list[tuple[float, int]] = []
    count = 0
    for bound in BOUNDS_MS:
        count += totals.within_ms[bound]
        buckets.append((bound / 1000, count))
    return Histogram(buckets, totals.within_ms.total(), round(totals.seconds, 6))


def _subscriptions(overview: Overview, now: float, first: Sequence[str]) -> Iterable[Metric]:
    deliveries = Metric(
        "relayd_deliveries", Kind.GAUGE, "Deliveries that have not ended, and exhausted ones kept."
    )
    oldest = Metric(
        "relayd_oldest_pending_seconds",
        Kind.GAUGE,
        "For how long the oldest delivery that has not ended has been accepted; 0 without one.",
        "seconds",
    )
    held = Metric("relayd_subscription_held", Kind.GAUGE, "1 if it is held, as by pause or by 410.")
    info = Metric("relayd_subscription", Kind.INFO, "Where a subscription is delivered to.")
    counts: dict[str, dict[str, int]] = {}
    ages: dict[str, float] = {}
    holds: dict[str, int] = {}
    own = set(first[:MOST_SERIES])
    for endpoint in overview.endpoints:
        for each in endpoint.subscriptions:
            if each.name not in own and len(own) < MOST_SERIES:
                own.add(each.name)
            name = each.name if each.name in own else OTHER
            if name != OTHER:
                info.add(1, subscription=name, endpoint=endpoint_label(endpoint.url))
            states = counts.setdefault(
                name, dict.fromkeys(("pending", "retrying", "held", "exhausted"), 0)
            )
            if each.hold is None:
                states["pending"] += each.waiting - each.retrying
                states["retrying"] += each.retrying
            else:
                states["held"] += each.waiting
            states["exhausted"] += each.exhausted
            since = now if each.oldest_accepted_at is None else each.oldest_accepted_at
            ages[name] = max(ages.get(name, 0.0), round(now - since, 3))
            holds[name] = max(holds.get(name, 0), int(each.hold is not None))
    for name, states in counts.items():
        for state, count in states.items():
            deliveries.add(count, subscription=name, state=state)
        oldest.add(ages[name], subscription=name)
        held.add(holds[name], subscription=name)
    return deliveries, oldest, held, info


def endpoint_label(url: str) -> str:
    """Return an endpoint as a label has it: `https://host`, or its name for mail."""
    return endpoint_name(url).removesuffix("…").removesuffix("/")


def _endpoints(overview: Overview, live: Live | None, now: float) -> Iterable[Metric]:
    up = Metric("relayd_endpoint_up", Kind.GAUGE, "0 if the last attempt there failed.")
    failing = Metric("relayd_endpoint_failing", Kind.GAUGE, "1 if it is failing, as status says.")
    tokens = Metric(
        "relayd_rate_limit_tokens", Kind.GAUGE, "How many attempts its rate limit allows now."
    )
    in_flight = Metric("relayd_endpoint_in_flight", Kind.GAUGE, "Attempts in progress.")
    by_label: dict[str, list[EndpointStanding]] = {}
    for each in overview.endpoints:
        label = endpoint_label(each.url)
        if label not in by_label and len(by_label) >= MOST_SERIES:
            label = OTHER
        by_label.setdefault(label, []).append(each)
    # Several of one host: the worst one counts.
    for label, endpoints in by_label.items():
        up.add(int(not any(each.health.failures for each in endpoints)), endpoint=label)
        states = {endpoint_state(each, now) for each in endpoints}
        failing.add(int("failing" in states), endpoint=label)
        buckets = [found for each in endpoints if (found := bucket_of(each, live)) is not None]
        if buckets:
            tokens.add(round(min(each["tokens"] for each in buckets), 3), endpoint=label)
            in_flight.add(sum(each["in_flight"] for each in buckets), endpoint=label)
    return up, failing, tokens, in_flight


def _queue(overview: Overview) -> Iterable[Metric]:
    queue = overview.queue
    yield _one(
        "relayd_queue_bytes", "The queue's file with its -wal, in bytes.", queue.size_bytes, "bytes"
    )
    yield _one("relayd_queue_free_bytes", "Of these, free for more.", queue.free_bytes, "bytes")
    yield _one("relayd_rejected_rows", "Rejected input that is kept.", queue.rejected)


def _sources(live: Live) -> Iterable[Metric]:
    up = Metric("relayd_source_up", Kind.GAUGE, "0 if it waits for something.")
    waiting = Metric(
        "relayd_source_waiting_seconds", Kind.GAUGE, "For how long it has waited.", "seconds"
    )
    undeleted = Metric(
        "relayd_spool_undeleted_rows", Kind.GAUGE, "Accepted rows that are still in the spool."
    )
    for each in live["sources"]:
        name = each["name"]
        up.add(int(each["waits_for"] is None), source=name)
        waiting.add(round(each.get("waited_s", 0.0), 3), source=name)
        if "undeleted" in each:
            undeleted.add(each["undeleted"], source=name)
    return up, waiting, undeleted
