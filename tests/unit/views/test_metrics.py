"""Which metrics there are, of whom, and how many at most."""

from collections import Counter

from prometheus_grammar import read_exposition

from relayd.core.endpoint import Health
from relayd.core.exposition import Metric, exposition
from relayd.core.hold import Hold
from relayd.core.outcome import Cause, Failure
from relayd.queue.overview_values import (
    AttemptTotals,
    Contents,
    EndpointStanding,
    Overview,
    QueueStanding,
    SubscriptionStanding,
    Tallies,
    Tally,
    Totals,
)
from relayd.views.metrics import MOST_SERIES, OTHER, MetricFacts, endpoint_label, metrics

NOW = 1_700_000_000.0
SECRET = "T0PS3CRET"
URL = f"https://hooks.example/{SECRET}?key={SECRET}"
LIVE = {
    "started_at": NOW - 100,
    "endpoints": {URL: {"tokens": 2.5, "in_flight": 3}},
    "sources": [
        {"name": "spool market", "waits_for": "the file", "waited_s": 3.0, "undeleted": 4},
        {"name": "socket", "waits_for": None, "waited_s": 0.0},
    ],
    "queue": {"max_size_bytes": None, "reserve_in_use": False, "too_large": True},
}
IN_FORCE = {"reloading": False, "changed": [], "changed_count": 0, "refused": None}


def endpoint(
    url: str, *subscriptions: SubscriptionStanding, failing: bool = False
) -> EndpointStanding:
    health = Health(failures=9, failing_since=NOW - 60) if failing else Health()
    return EndpointStanding(url, health, subscriptions, Tallies(Tally(), Tally()))


def overview(*endpoints: EndpointStanding) -> Overview:
    queue = QueueStanding(5_000, 1_000, None, 10, 3, 2, Contents(1, 1, 1, 1, 1))
    return Overview(endpoints, queue)


def totals(*names: str) -> Totals:
    causes = Counter({("status", 503): 2, ("status", 599): 1, ("status", 598): 1, ("no_tls", 0): 4})
    attempts = {
        name: AttemptTotals(
            Counter(delivered=2, exhausted=1), Counter({5: 2, 0: 1}), 40.5, causes.copy()
        )
        for name in names
    }
    return Totals(attempts, {"socket": 7}, {"spool market": 1})


def series(found: list[Metric]) -> dict[str, float]:
    families = read_exposition(exposition(found))
    read_exposition(exposition(found, openmetrics=True), openmetrics=True)
    return {
        f"{name}{{{labels}}}" if labels else name: value
        for family in families.values()
        for (name, labels), value in family.samples.items()
    }


def test_what_is_said_of_everything() -> None:
    books = SubscriptionStanding("books", URL, None, 5, NOW - 90, NOW, exhausted=4, retrying=2)
    gone = SubscriptionStanding("gone", URL, Hold.GONE, 1, NOW - 30, None)
    found = series(
        metrics(
            MetricFacts(
                NOW,
                NOW - 50,
                overview(endpoint(URL, books, gone, failing=True)),
                totals("books"),
                LIVE,
                IN_FORCE,
            )
        )
    )
    expected = {
        "relayd_up": 1,
        "relayd_queue_up": 1,
        "relayd_start_time_seconds": NOW - 100,
        "relayd_config_loaded": 1,
        "relayd_config_load_timestamp_seconds": NOW - 50,
        "relayd_disk_reserve_in_use": 0,
        "relayd_queue_too_large": 1,
        'relayd_attempts_total{subscription="books",outcome="delivered"}': 2,
        'relayd_attempts_total{subscription="books",outcome="retrying"}': 0,
        'relayd_attempts_total{subscription="books",outcome="exhausted"}': 1,
        'relayd_failed_attempts_total{subscription="books",cause="status_503"}': 2,
        'relayd_failed_attempts_total{subscription="books",cause="status_5xx"}': 2,
        'relayd_failed_attempts_total{subscription="books",cause="no_tls"}': 4,
        'relayd_attempt_duration_seconds_bucket{subscription="books",le="30.0"}': 2,
        'relayd_attempt_duration_seconds_bucket{subscription="books",le="+Inf"}': 3,
        'relayd_attempt_duration_seconds_sum{subscription="books"}': 40.5,
        'relayd_events_accepted_total{source="socket"}': 7,
        'relayd_rejected_total{source="spool market"}': 1,
        'relayd_rejected_total{source="socket"}': 0,
        'relayd_deliveries{subscription="books",state="pending"}': 3,
        'relayd_deliveries{subscription="books",state="retrying"}': 2,
        'relayd_deliveries{subscription="books",state="held"}': 0,
        'relayd_deliveries{subscription="books",state="exhausted"}': 4,
        'relayd_deliveries{subscription="gone",state="held"}': 1,
        'relayd_oldest_pending_seconds{subscription="books"}': 90,
        'relayd_subscription_held{subscription="books"}': 0,
        'relayd_subscription_held{subscription="gone"}': 1,
        'relayd_subscription_info{subscription="books",endpoint="https://hooks.example"}': 1,
        'relayd_endpoint_up{endpoint="https://hooks.example"}': 0,
        'relayd_endpoint_failing{endpoint="https://hooks.example"}': 1,
        'relayd_rate_limit_tokens{endpoint="https://hooks.example"}': 2.5,
        'relayd_endpoint_in_flight{endpoint="https://hooks.example"}': 3,
        "relayd_queue_bytes": 5_000,
        "relayd_queue_free_bytes": 1_000,
        "relayd_rejected_rows": 2,
        'relayd_source_up{source="spool market"}': 0,
        'relayd_source_up{source="socket"}': 1,
        'relayd_source_waiting_seconds{source="spool market"}': 3,
        'relayd_spool_undeleted_rows{source="spool market"}': 4,
    }
    assert {key: found.get(key) for key in expected} == expected
    assert "relayd_queue_max_bytes" not in found
    assert SECRET not in str(found)


def test_without_a_daemon_or_a_queue_the_rest_is_there() -> None:
    found = series(metrics(MetricFacts(NOW, None, None, None, None, None)))
    assert {key for key in found if "build" not in key} == {"relayd_up", "relayd_queue_up"}
    assert (found["relayd_up"], found["relayd_queue_up"]) == (0, 0)
    found = series(metrics(MetricFacts(NOW, None, overview(), totals(), None, None)))
    assert (found["relayd_up"], found["relayd_queue_up"]) == (0, 1)
    found = series(metrics(MetricFacts(NOW, None, None, None, LIVE, {**IN_FORCE, "refused": {}})))
    assert found["relayd_config_loaded"] == 0
    assert found['relayd_source_up{source="socket"}'] == 1


def test_a_receiver_that_answers_with_ever_another_status_makes_no_more_series() -> None:
    causes = Counter({("status", status): 1 for status in range(100, 1_000)})
    causes.update({(str(each), 0): 1 for each in (*Cause, *Failure)})
    one = Totals({"books": AttemptTotals(causes=causes)}, {}, {})
    found = series(metrics(MetricFacts(NOW, None, None, one, None, None)))
    failed = {key: value for key, value in found.items() if "failed_attempts" in key}
    assert len(failed) < 80
    assert sum(failed.values()) == causes.total()
    assert failed['relayd_failed_attempts_total{subscription="books",cause="status_9xx"}'] == 100


def test_the_number_of_series_has_a_bound_and_no_counter_falls() -> None:
    names = [f"s{number}" for number in range(MOST_SERIES + 500)]
    many = overview(
        *(
            endpoint(
                f"https://h{number}.example/",
                SubscriptionStanding(name, "", None, 1, NOW - number, NOW),
            )
            for number, name in enumerate(names)
        )
    )
    found = series(metrics(MetricFacts(NOW, None, many, totals(*names), LIVE, IN_FORCE)))
    assert len(found) < MOST_SERIES * 33
    delivered = {key: value for key, value in found.items() if '"delivered"' in key}
    assert len(delivered) == MOST_SERIES + 1
    assert sum(delivered.values()) == 2 * len(names)
    assert found[f'relayd_attempts_total{{subscription="{OTHER}",outcome="delivered"}}'] == 1_000
    assert found[f'relayd_deliveries{{subscription="{OTHER}",state="pending"}}'] == 500
    assert found[f'relayd_endpoint_up{{endpoint="{OTHER}"}}'] == 1
    # Those that come later are with the others, and leave those before them where they are.
    more = series(metrics(MetricFacts(NOW, None, many, totals(*names, "late"), LIVE, IN_FORCE)))
    counters = [key for key in found if "_total" in key or "_bucket" in key]
    assert all(more[key] >= found[key] for key in counters)


def test_endpoints_of_one_host_are_one_and_the_worst_of_them_counts() -> None:
    found = series(
        metrics(
            MetricFacts(
                NOW,
                None,
                overview(endpoint(URL), endpoint("https://hooks.example/other", failing=True)),
                totals(),
                LIVE,
                IN_FORCE,
            )
        )
    )
    assert found['relayd_endpoint_up{endpoint="https://hooks.example"}'] == 0


def test_a_label_is_no_url() -> None:
    assert endpoint_label("https://user:pass@h.example:8443/path?q=1") == "https://h.example:8443"
    assert endpoint_label("https://h.example") == "https://h.example"
    assert endpoint_label("https://h.example/") == "https://h.example"
