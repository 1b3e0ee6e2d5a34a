"""The process that reads the configuration for the daemon: reads it once, hands it over, and ends.

A thread of the daemon would share Python's lock with the event loop, and slow all deliveries down
for as long as the file takes to read. It has the daemon's user, environment and rights.
"""

import os
import resource
import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

from relayd.child_process import GROUP_SIGNALS
from relayd.config.added_subscription import Added
from relayd.program_files import EXIT_CHANGED, ProgramChangedError, unchanged_program
from relayd.spool.confinement import end_with_parent, name_process
from relayd.spool.exit_status import EXIT_MEMORY

_NICENESS: Final = 7
"""On one processor that both want all of, it gets 17 % (sched(7)): deliveries keep four fifths."""

LARGE_BYTES: Final = 64 * 1024
"""A smaller file, of some hundred subscriptions, is read at the daemon's own priority: it takes half a second of
a processor, which at a lower one is minutes where the machine is overloaded."""

_LONG_S: Final = 2.0
"""What takes more of a processor is read at the lower priority from then on, however small the file is."""

_MEMORY_BYTES: Final = 512 * 1024 * 1024
"""Of address space, beyond what is needed before it reads. The largest file takes 160 MB."""


def main(  # noqa: PLR0917 - what another process calls has no keywords
    daemon_pid: int,
    descriptor: int,
    path: str,
    name: str | None = None,
    text: int = -1,
    replaces: str = "",
) -> None:
    """Read the configuration at `path`, and write it, or what is wrong, to this descriptor.

    With a `name`, one more included file is judged as if it were there, or in place of the one that it
    `replaces`: a subscription of that name, whose text is in the file of the descriptor `text`. Without a text, the file at `path` is one that
    holds this subscription: its keys are written, as JSON.
    """
    for number in GROUP_SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    end_with_parent(daemon_pid)
    name_process("relayd-config")
    give_way_to_deliveries(Path(path))
    _give_way_when_memory_is_short()
    try:
        with unchanged_program():
            if name is not None and text < 0:
                pieces = _keys(Path(path), name)
            else:
                instead = Path(replaces) if replaces else None
                added = None if name is None else Added(name, _whole(text), instead)
                pieces = _pieces(Path(path), added)
        for piece in pieces:
            _write(descriptor, piece)
    except BrokenPipeError:
        pass  # nobody waits for it any more
    except MemoryError:
        os._exit(EXIT_MEMORY)
    except ProgramChangedError:
        os._exit(EXIT_CHANGED)
    sys.stdout.flush()
    os._exit(0)  # nothing to tidy up, which takes a while with so many objects


def give_way_to_deliveries(path: Path) -> None:
    """Lower this process's priority: at once for a large file, and once it has taken long for any other."""
    try:
        large = path.stat().st_size >= LARGE_BYTES
    except OSError:
        large = False  # what is wrong with it is said soon
    if large:
        _lower_priority()
        return
    signal.signal(signal.SIGPROF, lambda *_: _lower_priority())
    signal.setitimer(signal.ITIMER_PROF, _LONG_S)


def _lower_priority() -> None:
    with suppress(OSError):  # where a system call filter refuses it
        os.nice(_NICENESS)


def _whole(descriptor: int) -> bytes:
    with os.fdopen(descriptor, "rb") as file:
        file.seek(0)
        return file.read()


def _keys(path: Path, name: str) -> Iterator[bytes]:
    from relayd.config.added_keys import written_keys  # noqa: PLC0415 - see below

    return iter([written_keys(path, name)])


def _pieces(path: Path, added: Added | None = None) -> Iterator[bytes]:
    # Here, so that loading them is within the limits, too.
    from relayd.config.load import ConfigError, load_config  # noqa: PLC0415 - see above
    from relayd.config.transfer import (  # noqa: PLC0415 - see above
        pieces_of,
        pieces_of_defect,
        pieces_of_problems,
    )

    try:
        config = load_config(path, environ=os.environ, added=added)
    except ConfigError as error:
        return pieces_of_problems(error.problems)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - the daemon logs it
        # The place alone: an error's own text may show a value.
        places = "".join(traceback.format_tb(error.__traceback__))
        return pieces_of_defect(f"{places}{type(error).__name__}")
    return pieces_of(config)


def _write(descriptor: int, piece: bytes) -> None:
    left = memoryview(piece)
    while left:
        left = left[os.write(descriptor, left) :]


def _give_way_when_memory_is_short() -> None:
    """Bound this process's memory; where the system's is used up, end before the daemon does."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    for what, most in (
        (resource.RLIMIT_AS, pages * resource.getpagesize() + _MEMORY_BYTES),
        (resource.RLIMIT_CORE, 0),  # it would hold secrets
    ):
        _, hard = resource.getrlimit(what)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(what, (least, least))
    with suppress(OSError):  # where it may not be written
        Path("/proc/self/oom_score_adj").write_text("1000")
