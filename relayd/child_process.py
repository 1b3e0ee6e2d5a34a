"""Runs a module of this very program in a process of its own, executed, not forked.

The daemon has threads, which a forked process would find in any state.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

from relayd.program_files import EXIT_CHANGED, digest_at_start

_BOOT: Final = f"""
import json, os, sys
from importlib import import_module
path, digest, module, arguments = json.loads(sys.argv[1])
sys.path[:] = path
def check(name):
    try:
        same = getattr(import_module("relayd.program_files"), name)() == digest
    except Exception:
        same = False
    if not same:
        os._exit({EXIT_CHANGED})
check("digest_at_start")
main = import_module(module).main
check("digest_now")
main(*arguments)
"""
"""This text is the running program's own, whatever is on the disk by now: what it calls is loaded
from there. It ends with `EXIT_CHANGED` where that is not what this process was started from."""

GROUP_SIGNALS: Final = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
)
"""Signals that all processes get together, as at a terminal or from systemd: the daemon decides."""


def start_child(
    module: str,
    arguments: Sequence[str | int],
    *,
    environ: Mapping[str, str],
    pass_fds: Sequence[int],
) -> "subprocess.Popen[bytes]":
    """Start a process that calls `main` of the module with these arguments.

    It ignores no signal yet, but `GROUP_SIGNALS` are blocked in it: what is sent to all processes
    does not end it before it has said what it does with them. It ends with `EXIT_CHANGED` before
    `main` where relayd's files are not those of this process. Takes some milliseconds. Raises
    `OSError`. Call it in the main thread: where the child has the kernel kill it when its parent
    ends, that is the thread that started it.
    """
    blocked = signal.pthread_sigmask(signal.SIG_BLOCK, GROUP_SIGNALS)
    try:
        return subprocess.Popen(  # noqa: S603 - this program itself
            [
                *(sys.executable, "-I", "-S", "-c", _BOOT),
                json.dumps([sys.path, digest_at_start(), module, list(arguments)]),
            ],
            # The very program that runs: its path may be closed to this user, or lead to another
            # since an upgrade.
            executable="/proc/self/exe",
            pass_fds=pass_fds,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            cwd="/",
            process_group=0,
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, blocked)


def inherited(*names: str) -> dict[str, str]:
    """Return these variables of the environment, as far as they are set."""
    return {name: os.environ[name] for name in names if name in os.environ}
