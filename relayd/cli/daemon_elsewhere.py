"""Finds a daemon that runs with this configuration file, and another queue than the file names now.

Commands ask the daemon at the control socket beside the queue. Once `queue.path` is changed in the
file they look beside the new one, where nobody is until the restart. The kernel lists the sockets at
which processes listen: so such a daemon is found without a record that could be out of date.
"""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from relayd.config.sections import QueueConfig
from relayd.control import NoDaemonError, RefusedByDaemonError, connected
from relayd.core.queue_files import CONTROL

_LISTENS: Final = 0x10000  # __SO_ACCEPTCON
_MOST: Final = 16
_TIMEOUT_S: Final = 2.0


def daemon_elsewhere(queue: QueueConfig) -> str | None:
    """Return, as a sentence, that the daemon of this command's file has another queue; or None.

    None also where that is not known: this user may not ask it. What is found is only said, and
    nothing is asked of it but its standing.
    """
    context = click.get_current_context(silent=True)
    config_path = None if context is None else context.params.get("config_path")
    if not isinstance(config_path, Path):
        return None
    file = os.path.abspath(config_path)  # noqa: PTH100 - as config.load has it
    for control in list(_control_sockets())[:_MOST]:
        if control == queue.control_path or not _is_ours(control, file):
            continue
        with suppress(NoDaemonError, RefusedByDaemonError, TimeoutError, ValueError):
            with connected(control) as daemon:
                status = daemon.ask({"command": "status"}, timeout_s=_TIMEOUT_S)
            if status.get("config") == file:
                used = str(control).removesuffix(CONTROL)
                return (
                    f"relayd (pid {status.get('pid')}) is running with this file, but with the queue"
                    f" {used}: queue.path was changed in the file, and changing it needs a restart"
                )
    return None


def _control_sockets() -> Iterator[Path]:
    try:
        lines = Path("/proc/net/unix").read_text(errors="replace").splitlines()[1:]
    except OSError:
        return
    for line in lines:
        _, _, _, flags, _, _, _, *path = line.split(maxsplit=7)
        if (
            path
            and path[0].startswith("/")
            and path[0].endswith(CONTROL)
            and int(flags, 16) & _LISTENS
        ):
            yield Path(path[0])


def _is_ours(control: Path, file: str) -> bool:
    """Tell whether this user, root, or the file's owner listens there."""
    try:
        return control.stat().st_uid in {0, os.geteuid(), os.stat(file).st_uid}  # noqa: PTH116 - a text
    except OSError:
        return False
