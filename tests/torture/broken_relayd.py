"""relayd, broken on purpose in one of three ways, by RELAYD_BROKEN.

`marks` marks a delivery as delivered before it sends it; `answers` tells its producer that an event
is durable before it is; `deletes` takes a spool's rows before they are in the queue. The harness
must find what each loses, or it would prove nothing of the real one.

Each opens its window once, for one call, holds it open without end, and then makes the file
RELAYD_WINDOW: whoever kills it from then on makes it lose something, on any machine. While that
file is there, it does everything right.
"""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import trio

from relayd.cli import main
from relayd.core.acceptance import Acceptance
from relayd.core.delivery import decide
from relayd.core.event import Event
from relayd.core.outcome import Outcome
from relayd.delivery.attempt import Attempt
from relayd.delivery.endpoint_task import EndpointTask
from relayd.intake import Intake
from relayd.queue.records import Recording

WINDOW = Path(os.environ["RELAYD_WINDOW"])

_accept = Intake.accept
_init = EndpointTask.__init__

held: list[str] = []
"""Whom the window is open for: a producer, or a delivery."""


def _mark_first(self: EndpointTask, *args: Any, **kwargs: Any) -> None:
    _init(self, *args, **kwargs)
    make = self._sender.make

    async def mark_then_send(attempt: Attempt) -> Outcome:
        if attempt.subscription.name != "all" or held or WINDOW.exists():
            return await make(attempt)
        held.append(attempt.delivery.id)
        now, done = self._clock(), Outcome(0.0, status=200)
        delivered = decide(attempt.delivery, done, (), started_at=now, now=now, jitter=0.0)
        await self._record(Recording(delivered, attempt.subscription.url, None))
        WINDOW.touch()
        with trio.CancelScope(shield=True):  # its time limit ends it not
            await trio.sleep_forever()
        raise AssertionError("it was killed")

    self._sender.make = mark_then_send  # type: ignore[method-assign]  # that is the defect


def _early(kind: str) -> Any:
    async def accept(self: Intake, events: Sequence[Event], source: str) -> Sequence[Acceptance]:
        if not source.startswith(kind) or WINDOW.exists():
            return await _accept(self, events, source)
        [producer] = {each.id.split("_")[1] for each in events}
        if not held:
            held.append(producer)
            return [Acceptance.ACCEPTED for _ in events]
        if held == [producer]:
            # A producer that goes on has had its answer, and a spool that is read again was rid of
            # its rows.
            WINDOW.touch()
        return await _accept(self, events, source)

    return accept


if __name__ == "__main__":
    match os.environ["RELAYD_BROKEN"]:
        case "marks":
            EndpointTask.__init__ = _mark_first  # type: ignore[method-assign]  # that is the defect
        case "answers":
            Intake.accept = _early("socket")  # type: ignore[method-assign]  # that is the defect
        case "deletes":
            Intake.accept = _early("spool")  # type: ignore[method-assign]  # that is the defect
        case other:
            raise AssertionError(other)
    sys.argv[0] = "relayd"
    main()
