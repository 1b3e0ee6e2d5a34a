"""relayd, broken on purpose in one of three ways, by RELAYD_BROKEN.

`marks` marks a delivery as delivered before it sends it; `answers` tells its producer that an event
is durable before it is; `deletes` takes a spool's rows before they are in the queue. The harness
must find what each loses, or it would prove nothing of the real one.
"""

import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from contextvars import copy_context
from typing import Any

import trio

from relayd.cli import main
from relayd.core.acceptance import Acceptance
from relayd.core.delivery import Delivery, decide
from relayd.core.event import Event
from relayd.core.outcome import Outcome
from relayd.core.subscription import Subscription
from relayd.database import DatabaseError
from relayd.delivery.endpoint_task import EndpointTask
from relayd.intake import Intake
from relayd.queue.records import Recording

_accept = Intake.accept


async def _mark_then_send(
    self: EndpointTask, delivery: Delivery, subscription: Subscription
) -> None:
    now = self._clock()
    delivered = decide(delivery, Outcome(0.0, status=200), (), started_at=now, now=now, jitter=0.0)
    await self._record(Recording(delivered, subscription.url, None))
    await self._outcome(delivery, subscription, now)


async def _later(self: Intake, events: Sequence[Event], source: str) -> None:
    await trio.sleep(0.05)
    with suppress(DatabaseError):
        await _accept(self, events, source)


def _early(kind: str) -> Any:
    async def accept(self: Intake, events: Sequence[Event], source: str) -> list[Acceptance]:
        if not source.startswith(kind):
            return await _accept(self, events, source)
        # SQLite's loop is found through the context.
        trio.lowlevel.spawn_system_task(_later, self, events, source, context=copy_context())
        return [Acceptance.ACCEPTED for _ in events]

    return accept


if __name__ == "__main__":
    match os.environ["RELAYD_BROKEN"]:
        case "marks":
            EndpointTask._attempt = _mark_then_send  # type: ignore[method-assign]  # that is the defect
        case "answers":
            Intake.accept = _early("socket")  # type: ignore[method-assign]  # that is the defect
        case "deletes":
            Intake.accept = _early("spool")  # type: ignore[method-assign]  # that is the defect
        case other:
            raise AssertionError(other)
    sys.argv[0] = "relayd"
    main()
