"""relayd, with a fault in it: one event kills it, at the stage that RELAYD_DIES_AT names.

The event is the one with `deadly` in its id. At `hang` it runs in a circle for ever, as a defect in a
loop does, once it has made the file RELAYD_HANGS.
"""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from relayd.cli import main
from relayd.core.event_input import event_from_line
from relayd.core.matching import Matcher
from relayd.core.signature import signed_headers
from relayd.delivery import attempt
from relayd.sources import event_lines, spools
from relayd.sources.readers import Readers
from relayd.transport.exchange import exchange


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang() -> None:
    Path(os.environ["RELAYD_HANGS"]).touch()
    while True:
        pass


def _fault(seen: Callable[..., bool], real: Callable[..., Any], end: Callable[[], None]) -> Any:
    def faulty(*args: Any, **kwargs: Any) -> Any:
        if seen(*args):
            end()
        return real(*args, **kwargs)

    return faulty


async def _exchange(transport: Any, request: Any, **kwargs: Any) -> Any:
    outcome = await exchange(transport, request, **kwargs)
    if b"deadly" in request.body:
        _die()
    return outcome


def _delivers_deadly(delivery: Any, *_: object) -> bool:
    return "deadly" in delivery.event_id


def _reader(fault: str) -> tuple[object, str, object]:
    """Have all readers descend from a template with a fault in it."""
    return spools, "Readers", partial(Readers, f"faults.faulty_readers.{fault}")


FAULTS: dict[str, tuple[object, str, object]] = {
    "row": _reader("dies"),
    "row hangs": _reader("hangs"),
    "row needs memory": _reader("needs_memory"),
    "row has a defect": _reader("has_a_defect"),
    "line": (event_lines, "event_from_line", _fault(lambda line, *_: b"deadly" in line, event_from_line, _die)),
    "match": (Matcher, "match", _fault(lambda _, event, *__: "deadly" in event["id"], Matcher.match, _die)),
    "sign": (attempt, "signed_headers", _fault(_delivers_deadly, signed_headers, _die)),
    "hang": (attempt, "signed_headers", _fault(_delivers_deadly, signed_headers, _hang)),
    "answer": (attempt, "exchange", _exchange),
}  # fmt: skip

if __name__ == "__main__":
    setattr(*FAULTS[os.environ["RELAYD_DIES_AT"]])
    sys.argv[0] = "relayd"
    main()
