"""The metrics of docs/web.md, of the alerts and of the Grafana dashboard are those that there are."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click
import pytest
import yaml
from grafana_queries import dashboard, metric_names, panels, queries

from relayd.cli import cli
from relayd.core.exposition import Kind
from relayd.queue.overview_values import Contents, Overview, QueueStanding, Totals
from relayd.views.metrics import MetricFacts, metrics

ROOT = Path(__file__).parents[3]
ALERTS = ROOT / "packaging" / "alerts.yml"
LIVE = {
    "started_at": 0.0,
    "endpoints": {},
    "sources": [],
    "queue": {"max_size_bytes": 1, "reserve_in_use": False, "too_large": False},
}
SUFFIXES = {Kind.COUNTER: "_total", Kind.INFO: "_info"}


def names() -> set[str]:
    queue = QueueStanding(0, 0, None, 0, 0, 0, Contents(0, 0, 0, 0, 0))
    facts = MetricFacts(0.0, 0.0, Overview((), queue), Totals({}, {}, {}), LIVE, None)
    return {each.name + SUFFIXES.get(each.kind, "") for each in metrics(facts)}


def rules() -> list[Any]:
    [group] = yaml.safe_load(ALERTS.read_text())["groups"]
    found: list[Any] = group["rules"]
    return found


def test_the_page_has_each_metric_and_no_other() -> None:
    rows = re.findall(r"^\| (`relayd_[^|]*) \|", (ROOT / "docs/web.md").read_text(), re.MULTILINE)
    assert {name for row in rows for name in re.findall(r"`(\w+)`", row)} == names()


def test_the_alerts_ask_for_metrics_that_there_are() -> None:
    asked = {name for rule in rules() for name in metric_names(rule["expr"])}
    assert asked
    assert asked <= names()


def test_each_alert_is_tried_where_it_fires_and_where_it_does_not() -> None:
    [test] = yaml.safe_load((ALERTS.parent / "alerts_test.yml").read_text())["tests"]
    tried = {(each["alertname"], bool(each["exp_alerts"])) for each in test["alert_rule_test"]}
    assert tried == {(rule["alert"], fires) for rule in rules() for fires in (True, False)}


def test_the_alerts_name_commands_that_there_are() -> None:
    said = [line for rule in rules() for line in rule["annotations"].values()]
    named = {each.split()[0] for line in said for each in re.findall(r"`relayd ([^`]+)`", line)}
    assert {"status", "rejected", "replay"} <= named
    assert named <= set(cli.list_commands(click.Context(cli)))


def test_the_dashboard_asks_for_metrics_that_there_are_and_shows_each() -> None:
    asked = {name for query in queries().values() for name in metric_names(query)}
    assert asked <= names()
    # Where it is delivered to is of use in queries of one's own.
    assert names() - asked == {
        "relayd_queue_up",
        "relayd_subscription_info",
        "relayd_source_up",
        "relayd_subscription_held",
    }
    variables = [each["query"] for each in dashboard()["templating"]["list"]]
    assert variables.pop(0) == "prometheus"
    assert all(metric_names(each["query"]) <= names() for each in variables)


def test_the_dashboard_s_panels_fill_its_width_and_are_explained() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        cells = {
            (place["x"] + right, place["y"] + down)
            for right in range(place["w"])
            for down in range(place["h"])
        }
        assert not cells & taken, panel["title"]
        taken |= cells
    rows = {down for _, down in taken}
    assert taken == {(right, down) for right in range(24) for down in rows}
    assert all(panel["description"].endswith(".") for panel in panels())
    numbers = [panel["id"] for panel in dashboard()["panels"]]
    assert len(set(numbers)) == len(numbers)


def test_the_dashboard_has_the_data_source_that_is_chosen_in_it() -> None:
    sources = {
        target["datasource"]["uid"] for panel in panels() for target in [panel, *panel["targets"]]
    }
    assert sources == {"${datasource}"}
    assert dashboard()["id"] is None


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_dashboard_s_queries(tmp_path: Path) -> None:
    recorded = [
        {"record": f"panel:{number}", "expr": query}
        for number, query in enumerate(queries().values())
    ]
    rules = {"groups": [{"name": "dashboard", "rules": recorded}]}
    (tmp_path / "rules.yml").write_text(yaml.safe_dump(rules))
    subprocess.run(
        ["promtool", "check", "rules", "rules.yml"], cwd=tmp_path, check=True, timeout=30
    )


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize(
    "arguments", [("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml")]
)
def test_promtool_accepts_the_alerts(arguments: tuple[str, ...]) -> None:
    subprocess.run(["promtool", *arguments], cwd=ALERTS.parent, check=True, timeout=30)
