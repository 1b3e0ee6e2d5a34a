"""The queries of the Grafana dashboard, as Grafana sends them to Prometheus."""

import json
import re
from pathlib import Path
from typing import Any

DASHBOARD = Path(__file__).parents[1] / "packaging" / "grafana.json"
_VARIABLES = {
    "$__rate_interval": "1m",
    "$job": ".+",
    "$instance": ".+",
    "$subscription": ".+",
}


def dashboard() -> Any:
    """Return the dashboard."""
    return json.loads(DASHBOARD.read_text())


def panels() -> list[dict[str, Any]]:
    """Return its panels that show something."""
    return [each for each in dashboard()["panels"] if each["type"] != "row"]


def queries() -> dict[str, str]:
    """Return each query by its place, with values for the dashboard's variables."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in panels()
        for target in panel["targets"]
    }
    for each in dashboard()["annotations"]["list"]:
        if "expr" in each:
            found[each["name"]] = each["expr"]
    return {place: _filled(query) for place, query in found.items()}


def _filled(query: str) -> str:
    for name, value in _VARIABLES.items():
        query = query.replace(name, value)
    assert "$" not in query, query
    return query


def metric_names(text: str) -> set[str]:
    """Return the metrics that a query names, a histogram by its own name."""
    found = re.findall(r"\brelayd_\w+", text)
    return {re.sub(r"(?<=_seconds)_(bucket|sum|count)$", "", each) for each in found}
