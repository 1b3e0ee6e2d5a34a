"""What is logged while the queue cannot be read: little, however many ask."""

from pathlib import Path

from relayd.queue.snapshot_values import QueueUnreadableError
from relayd.web.queue_trouble import AGAIN_S, QueueTrouble

SLOW = QueueUnreadableError(Path("queue.db"), "reading it takes too long")
GONE = QueueUnreadableError(Path("queue.db"), "it is not there")


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


def test_a_reason_is_news_when_it_begins() -> None:
    clock = Clock()
    trouble = QueueTrouble(clock)
    seen = 0
    for _ in range(1_000):
        seen += trouble.is_news(GONE)
        clock.now += 1
    assert seen == 1
    assert trouble.is_news(SLOW)
    trouble.ends()
    clock.now += AGAIN_S
    assert trouble.is_news(SLOW)


def test_reasons_that_come_and_go_are_news_once_a_minute() -> None:
    clock = Clock()
    trouble = QueueTrouble(clock)
    seen = 0
    for _ in range(500):
        seen += trouble.is_news(SLOW)
        trouble.ends()
        seen += trouble.is_news(GONE)
        clock.now += 0.1
    assert seen == 2
    clock.now += AGAIN_S
    assert trouble.is_news(SLOW)
