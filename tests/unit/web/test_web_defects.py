"""What the loop's exception handler logs, in lines that are bounded."""

import asyncio
import errno
from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from relayd.web.defects import OUT_OF_FILES_S, LogOfLoop


@pytest.fixture
def loop() -> Iterator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def test_connections_without_a_file_descriptor_are_logged_once_a_minute(
    loop: asyncio.AbstractEventLoop,
) -> None:
    now = 0.0
    log = LogOfLoop(lambda: now)
    loop.set_exception_handler(log)
    error = OSError(errno.EMFILE, "Too many open files")

    def two_thousand() -> None:
        for _ in range(2_000):
            loop.call_exception_handler(
                {"message": "socket.accept() out of system resource", "exception": error}
            )

    with capture_logs() as lines:
        two_thousand()
        assert [line["event"] for line in lines] == ["web_out_of_files"]
        now = OUT_OF_FILES_S - 0.1
        two_thousand()
        assert len(lines) == 1
        now = OUT_OF_FILES_S
        two_thousand()
        assert len(lines) == 2


def test_a_client_that_is_gone_is_not_logged_and_a_defect_each_time(
    loop: asyncio.AbstractEventLoop,
) -> None:
    loop.set_exception_handler(LogOfLoop())
    with capture_logs() as lines:
        loop.call_exception_handler({"message": "m", "exception": ConnectionResetError()})
        assert lines == []
        for _ in range(2):
            loop.call_exception_handler({"message": "m", "exception": RuntimeError("defect")})
        loop.call_exception_handler({"message": "m"})
    assert [line["event"] for line in lines] == ["web_defect"] * 3
