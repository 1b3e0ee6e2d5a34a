"""The log: its lines, its level, and that nobody waits for it."""

import io
import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest
import structlog

from relayd.log import _KEPT_LINES, LineWriter, Log


@pytest.fixture(autouse=True)
def _plain_structlog() -> Iterator[None]:
    yield
    structlog.reset_defaults()


def test_a_line_is_json_with_what_every_line_has_first() -> None:
    stream = io.StringIO()
    with Log("info", "json", stream):
        structlog.get_logger().bind(source="socket").info("event_accepted", event_id="évt\n1")
    [line] = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert list(fields) == ["time", "level", "event", "source", "event_id"]
    assert fields["time"].endswith("Z")
    assert (fields["level"], fields["event_id"]) == ("info", "évt\n1")


def test_a_changed_level_reaches_loggers_that_exist() -> None:
    stream = io.StringIO()
    with Log("info", "json", stream) as log:
        logger = structlog.get_logger().bind(endpoint="x")
        logger.info("one")
        log.configure("warning")
        logger.info("two")
        logger.warning("three")
        log.configure("debug")
        logger.debug("four")
    assert [json.loads(line)["event"] for line in stream.getvalue().splitlines()] == [
        "one",
        "three",
        "four",
    ]


def test_a_traceback_shows_no_variables() -> None:
    stream = io.StringIO()
    with Log("info", "json", stream):
        try:
            fail("the-" + "secret-value")
        except KeyError:
            structlog.get_logger().exception("defect")
    assert "KeyError" in stream.getvalue()
    assert "secret-value" not in stream.getvalue()


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_shows_no_path_of_a_url(form: Literal["json", "text"]) -> None:
    stream = io.StringIO()
    with Log("info", form, stream):
        defect = ValueError("cannot parse https://app.example/the-path?the-query")
        structlog.get_logger().error("defect", exc_info=defect)
    assert "cannot parse https://app.example/…" in stream.getvalue()
    assert "the-path" not in stream.getvalue()
    assert "the-query" not in stream.getvalue()


def fail(secret: str) -> None:
    raise KeyError(len(secret))


def test_a_log_that_nobody_reads_stops_nobody_and_says_what_it_dropped() -> None:
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as stream:
        writer = LineWriter(stream)
        for number in range(3 * _KEPT_LINES):
            writer.write(f"line {number} " + "x" * 100)
        read: list[str] = []

        def read_all() -> None:
            with os.fdopen(reading) as pipe:
                read.extend(pipe)

        reader = threading.Thread(target=read_all)
        reader.start()
        writer.write("the last line")
        writer.close(timeout_s=10)
    reader.join()
    assert read[0].startswith("line 0 ")
    assert any("log lines were dropped" in line for line in read)


def test_a_closed_stream_is_no_error(tmp_path: Path) -> None:
    stream = (tmp_path / "log").open("w")
    writer = LineWriter(stream)
    stream.close()
    writer.write("lost")
    writer.close()
