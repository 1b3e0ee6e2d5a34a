"""Metrics as text: the grammar of both formats, whatever stands in a label."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_grammar import read_exposition

from relayd.core.exposition import Histogram, Kind, Metric, exposition, wanted_format

PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,"
    "text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
)


def every_kind() -> list[Metric]:
    up = Metric("relayd_up", Kind.GAUGE, '1 if \\ it\nanswers "now".')
    up.add(1)
    attempts = Metric("relayd_attempts", Kind.COUNTER, "Attempts.")
    attempts.add(3, subscription="books", outcome="delivered")
    build = Metric("relayd_build", Kind.INFO, "Its version.")
    build.add(1, version="1.2")
    took = Metric("relayd_took_seconds", Kind.HISTOGRAM, "How long.", "seconds")
    took.add(Histogram([(0.005, 1), (1.0, 2)], 4, 12.5), subscription="books")
    return [up, attempts, build, took, Metric("relayd_nothing", Kind.GAUGE, "Nothing.")]


def test_the_text_format() -> None:
    assert exposition(every_kind()).decode() == (
        '# HELP relayd_up 1 if \\\\ it\\nanswers "now".\n'
        "# TYPE relayd_up gauge\n"
        "relayd_up 1\n"
        "# HELP relayd_attempts_total Attempts.\n"
        "# TYPE relayd_attempts_total counter\n"
        'relayd_attempts_total{subscription="books",outcome="delivered"} 3\n'
        "# HELP relayd_build_info Its version.\n"
        "# TYPE relayd_build_info gauge\n"
        'relayd_build_info{version="1.2"} 1\n'
        "# HELP relayd_took_seconds How long.\n"
        "# TYPE relayd_took_seconds histogram\n"
        'relayd_took_seconds_bucket{subscription="books",le="0.005"} 1\n'
        'relayd_took_seconds_bucket{subscription="books",le="1.0"} 2\n'
        'relayd_took_seconds_bucket{subscription="books",le="+Inf"} 4\n'
        'relayd_took_seconds_sum{subscription="books"} 12.5\n'
        'relayd_took_seconds_count{subscription="books"} 4\n'
    )


def test_openmetrics() -> None:
    text = exposition(every_kind(), openmetrics=True).decode()
    assert text.startswith('# HELP relayd_up 1 if \\\\ it\\nanswers \\"now\\".\n')
    assert (
        "# HELP relayd_attempts Attempts.\n# TYPE relayd_attempts counter\nrelayd_attempts_total{"
        in text
    )
    assert "# TYPE relayd_build info\nrelayd_build_info{" in text
    assert "# TYPE relayd_took_seconds histogram\n# UNIT relayd_took_seconds seconds\n" in text
    assert text.endswith("\n# EOF\n")


@given(st.text(), st.text(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False))
def test_nothing_in_a_label_or_a_help_breaks_the_grammar(
    label: str, words: str, openmetrics: bool, value: float
) -> None:
    metric = Metric("relayd_x", Kind.GAUGE, f"x{words}")
    metric.add(value, source=f"a\n{label}\\")
    found = read_exposition(exposition([metric], openmetrics=openmetrics), openmetrics=openmetrics)
    [(_, labels)] = found["relayd_x"].samples
    quoted = labels.removeprefix('source="').removesuffix('"')
    shown = quoted.replace("\\\\", "\0").replace('\\"', '"').replace("\\n", "\n")
    if "\0" not in label:
        assert shown.replace("\0", "\\") == f"a\n{label}\\"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("", "text"),
        ("*/*", "text"),
        ("text/html", "text"),
        ("application/openmetrics-text", "openmetrics"),
        ("application/openmetrics-text; version=0.0.1", "text"),
        ("Application/OpenMetrics-Text; Version=1.0.0; charset=utf-8", "openmetrics"),
        (PROMETHEUS, "openmetrics"),
        ("application/openmetrics-text;q=0.2,text/plain;q=0.5", "text"),
        ("application/openmetrics-text;q=wrong", "text"),
        (";;,=;q=", "text"),
    ],
)
def test_the_format_is_the_one_that_is_asked_for(accept: str, wanted: str) -> None:
    assert wanted_format(accept) == wanted
