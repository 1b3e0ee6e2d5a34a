"""Finds a daemon that runs with this configuration file, and another queue than the file names now.

Commands ask the daemon at the control socket beside the queue. Once `queue.path` is changed in the
file they look beside the new one, where nobody is until the restart. The kernel lists the sockets at
which processes listen: so such a daemon is found without a record that could be out of date.
"""

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

import click

from relayd.cli.terminal import printable
from relayd.config.sections import QueueConfig
from relayd.control import NoDaemonError, RefusedByDaemonError, connected
from relayd.core.queue_files import CONTROL

_LISTENS: Final = 0x10000  # __SO_ACCEPTCON
_ANSWER_S: Final = 1.0
_TOGETHER_S: Final = 3.0
_ANSWER_BYTES: Final = 8 * 1024 * 1024


def daemon_elsewhere(queue: QueueConfig) -> str | None:
    """Return, as a sentence, that the daemon of this command's file has another queue; or None.

    None also where that is not known: this user may not ask it. What is found is only said, and
    nothing is asked of it but its standing. Anybody may listen at any name: an answer counts where this
    user, root, or the file's owner listens, and none is waited for longer than 3 s in all.
    """
    context = click.get_current_context(silent=True)
    config_path = None if context is None else context.params.get("config_path")
    if not isinstance(config_path, Path):
        return None
    file = os.path.abspath(config_path)  # noqa: PTH100 - as config.load has it
    trusted = {0, os.geteuid()}
    with suppress(OSError):
        trusted.add(os.stat(file).st_uid)  # noqa: PTH116 - a text
    deadline = time.monotonic() + _TOGETHER_S
    for control in _control_sockets():
        left_s = min(_ANSWER_S, deadline - time.monotonic())
        if left_s <= 0:
            break
        if control == queue.control_path:
            continue
        with suppress(NoDaemonError, RefusedByDaemonError, TimeoutError):
            # Who listens is not known before: a stranger's full backlog is not waited for.
            with connected(control, wait_s=0) as daemon:
                if daemon.uid not in trusted:
                    continue
                status = daemon.ask(
                    {"command": "status"}, timeout_s=left_s, most_bytes=_ANSWER_BYTES
                )
            pid = status.get("pid")
            if status.get("config") == file and type(pid) is int:
                used = printable(str(control).removesuffix(CONTROL))
                return (
                    f"relayd (pid {pid}) is running with this file, but with the queue {used}:"
                    " queue.path was changed in the file, and changing it needs a restart"
                )
    return None


def _control_sockets() -> Iterator[Path]:
    """Yield the paths at which somebody listens that are named as a control socket is.

    A socket's name may hold any byte but NUL: what follows a line break in it looks like a line of its own.
    """
    try:
        lines = Path("/proc/net/unix").read_bytes().split(b"\n")[1:]
    except OSError:
        return
    for line in lines:
        _, _, _, flags, _, _, _, path, *_ = *line.split(maxsplit=7), *[b""] * 8
        if path.startswith(b"/") and path.endswith(os.fsencode(CONTROL)) and _listens(flags):
            yield Path(os.fsdecode(path))


def _listens(flags: bytes) -> bool:
    try:
        return bool(int(flags, 16) & _LISTENS)
    except ValueError:
        return False
