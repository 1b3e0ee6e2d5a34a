"""The metrics of docs/web.md and of the alerts are those that there are."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from relayd.core.exposition import Kind
from relayd.queue.overview_values import Contents, Overview, QueueStanding, Totals
from relayd.views.metrics import MetricFacts, metrics

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "packaging" / "alerts.yml"
LIVE = {
    "started_at": 0.0,
    "endpoints": {},
    "sources": [],
    "queue": {"max_size_bytes": 1, "reserve_in_use": False},
}
SUFFIXES = {Kind.COUNTER: "_total", Kind.INFO: "_info"}


def names() -> set[str]:
    queue = QueueStanding(0, 0, None, 0, 0, 0, Contents(0, 0, 0, 0, 0))
    facts = MetricFacts(0.0, 0.0, Overview((), queue), Totals({}, {}, {}), LIVE, None)
    return {each.name + SUFFIXES.get(each.kind, "") for each in metrics(facts)}


def test_the_page_has_each_metric_and_no_other() -> None:
    rows = re.findall(r"^\| (`relayd_[^|]*) \|", (ROOT / "docs/web.md").read_text(), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == names()


def test_the_alerts_ask_for_metrics_that_there_are() -> None:
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    asked = {name for rule in group["rules"] for name in re.findall(r"relayd_\w+", rule["expr"])}
    assert asked
    assert asked <= names()


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "arguments", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")]
)
def test_promtool_accepts_the_alerts(arguments: tuple[str, ...]) -> None:
    subprocess.run(["promtool", *arguments], cwd=ALERTS.parent, check=True, timeout=30)
