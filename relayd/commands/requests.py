"""Requests and answers: `{"ok": true, …}`, or `{"ok": false, "code": …, "error": …}` in words."""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any

import structlog

from relayd.config.config import Config
from relayd.containment import is_defect
from relayd.control import Command
from relayd.core.catalogue import suggest
from relayd.queue.interface import QueueUnavailable
from relayd.queue.values import MOST_ROWS

_log = structlog.get_logger()

_LARGEST = 2**63 - 1

Request = Mapping[str, Any]
Answer = dict[str, object]


class RefusedError(Exception):
    """A request cannot be done. `code` is for programs, the text for people."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


def answering(command: Callable[[Request], Awaitable[Answer]]) -> Command:
    """Return a command that answers in the protocol's form, also where it is refused."""

    async def answered(request: Request) -> Answer:
        try:
            return {"ok": True, **await command(request)}
        except RefusedError as refused:
            return {"ok": False, "code": refused.code, "error": str(refused)}
        except QueueUnavailable as error:
            reason = f"relayd cannot write to its queue now ({error.reason}); try again later"
            return {"ok": False, "code": "unavailable", "error": reason}
        except Exception as error:
            if not is_defect(error):
                raise
            _log.exception("command_failed", command=request.get("command"))
            reason = "internal error; relayd's log has the traceback"
            return {"ok": False, "code": "defect", "error": reason}

    return answered


def text_of(request: Request, key: str) -> str:
    """Return an argument that must be text."""
    value = request.get(key)
    # Half of a surrogate pair is no text, though JSON can write it.
    if not isinstance(value, str) or value != value.encode("utf-8", "replace").decode():
        raise RefusedError("bad_request", f"{key} must be text")
    return value


def numbers_of(request: Request, key: str) -> list[int]:
    """Return an argument that must be a list of rows' numbers, not more than one call may touch."""
    value = request.get(key)
    if (
        isinstance(value, list)
        and len(value) <= MOST_ROWS
        and all(type(each) is int and 0 < each <= _LARGEST for each in value)
    ):
        return value
    raise RefusedError("bad_request", f"{key} must be a list of at most {MOST_ROWS} numbers")


def configured(request: Request, config: Config) -> str:
    """Return the name of a subscription of the configuration."""
    name = text_of(request, "subscription")
    if name not in config.subscriptions:
        raise unknown(name, config.subscriptions)
    return name


def unknown(name: str, names: Iterable[str]) -> RefusedError:
    """Return the refusal of a subscription that is not among `names`."""
    near = suggest(name, names)
    hint = f"; did you mean {near}?" if near else ""
    return RefusedError("unknown", f"there is no subscription {name!r}{hint}")
