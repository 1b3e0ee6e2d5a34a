"""What is logged while the queue cannot be read: little, however many ask."""

from pathlib import Path

import pytest

from relayd.queue.snapshot_values import QueueUnreadableError
from relayd.web.queue_trouble import AGAIN_S, QueueTrouble

SLOW = QueueUnreadableError(Path("queue.db"), "reading it takes too long")
GONE = QueueUnreadableError(Path("queue.db"), "it is not there")


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def logged(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().out.splitlines()
    return [detail for each in lines if "queue.db" in (detail := each)]


def test_a_reason_is_logged_when_it_begins(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    trouble = QueueTrouble("page_without_queue", clock)
    for _ in range(1_000):
        trouble.begins(GONE)
        clock.now += 1
    assert len(logged(capsys)) == 1
    trouble.begins(SLOW)
    assert len(logged(capsys)) == 1
    trouble.ends()
    clock.now += AGAIN_S
    trouble.begins(SLOW)
    assert len(logged(capsys)) == 1


def test_reasons_that_come_and_go_are_logged_once_a_minute(
    capsys: pytest.CaptureFixture[str],
) -> None:
    clock = Clock()
    trouble = QueueTrouble("page_without_queue", clock)
    for _ in range(600):
        trouble.begins(SLOW)
        trouble.ends()
        trouble.begins(GONE)
        clock.now += 0.1
    assert len(logged(capsys)) == 2
    clock.now += AGAIN_S
    trouble.begins(SLOW)
    assert len(logged(capsys)) == 1
