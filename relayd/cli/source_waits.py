"""Asks the running daemon what it waits for at a spool, in the words of `status`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from relayd.config.sections import SpoolConfig
from relayd.control import NoDaemonError, RefusedByDaemonError, connected
from relayd.views.status import is_running

_ASK_TIMEOUT_S: Final = 5.0


def ask_sources(control: Path) -> tuple[bool | None, Sequence[Mapping[str, Any]] | None]:
    """Return whether the daemon answers, None where this user may not ask it; and its sources.

    The sources are None where it does not say.
    """
    try:
        with connected(control) as daemon:
            answer = daemon.ask({"command": "status"}, timeout_s=_ASK_TIMEOUT_S)
    except NoDaemonError as error:
        return is_running(error.absence), None
    except (TimeoutError, RefusedByDaemonError):
        return True, None
    return True, answer.get("sources")


def waits_for(each: SpoolConfig, sources: Sequence[Mapping[str, Any]] | None) -> str | None:
    """Return what the daemon waits for at a spool, if it does, in the words of `status`."""
    if sources is None:
        return None
    found = {source["name"]: source for source in sources}.get(each.source)
    if found is None:
        return (
            "a reload: the configuration in force does not have this spool; `relayd reload` applies"
            " the file"
        )
    if found["path"] != str(each.path):
        return (
            f"a reload: in the configuration in force it is {found['path']}; `relayd reload` applies"
            " the file"
        )
    reason: str | None = found["waits_for"]
    return reason
