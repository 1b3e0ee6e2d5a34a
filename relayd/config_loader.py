"""Has the configuration read beside the daemon, in a process of its own that lives for it alone.

The process has `DEADLINE_S` and a bound of memory; it is killed when the caller is cancelled. It
ends with the daemon.
"""

import json
import math
import os
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import trio

from relayd.child_process import start_child
from relayd.config.added_subscription import Added
from relayd.config.config import Config
from relayd.config.transfer import IncompleteError, received
from relayd.pacing import paced
from relayd.program_files import EXIT_CHANGED
from relayd.spool.exit_status import how_it_ended

DEADLINE_S: Final = 180.0
"""How long reading may take. The largest file, 10,000 subscriptions, takes 6 s of a processor, of which
it gets little while others want it."""

MOST_BYTES: Final = 64 * 1024 * 1024
"""What a configuration may be on its way to the daemon. 10,000 subscriptions are 5 MB."""

_NOT_PASSED: Final = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "LISTEN_FDS", "LISTEN_PID")
"""What the service manager says to the daemon alone. All else may be named by the configuration."""

_END_S: Final = 2.0  # how long a killed process may take to end
_AT_ONCE: Final = 65_536


class NotReadError(Exception):
    """The configuration could not be read, whatever is in it; says why."""


class ConfigLoader:
    """Reads configurations. `module` has the function `main` that the process runs."""

    def __init__(
        self, module: str = "relayd.config_process", *, deadline_s: float = DEADLINE_S
    ) -> None:
        self._module = module
        self._deadline_s = deadline_s
        self._turn = trio.Lock()  # one at a time: each takes up to 160 MB
        self._running: subprocess.Popen[bytes] | None = None

    def children(self) -> list[int]:
        """Return the process numbers of this process's own children that run now."""
        process = self._running
        return [] if process is None or process.returncode is not None else [process.pid]

    async def load(
        self,
        path: Path,
        known: Config,
        *,
        added: Added | None = None,
        turn_within_s: float = math.inf,
    ) -> Config:
        """Return the configuration in the file at `path`, and in `added` as if it were included.

        What it has in common with `known` are the same objects. Raises `ConfigError`,
        `NotReadError`, or `LoaderDefectError`. Where something else is being read for longer than
        `turn_within_s`, that is a `NotReadError`.
        """
        raw, status = await self._in_turn(path, [], added, turn_within_s)
        try:
            return await paced(received(memoryview(raw), known))
        except IncompleteError:
            raise _ended_early(status) from None

    async def written_keys(self, path: Path, name: str) -> tuple[dict[str, object], bytes]:
        """Return the keys of the subscription that the file at `path` holds, and the file's digest.

        Raises `NotReadError`.
        """
        raw, status = await self._in_turn(path, [name], None, math.inf)
        try:
            found = json.loads(raw)
        except ValueError:
            raise _ended_early(status) from None
        if "problem" in found:
            raise NotReadError(found["problem"])
        return found["keys"], bytes.fromhex(found["digest"])

    async def _in_turn(
        self, path: Path, more: Sequence[str], added: Added | None, turn_within_s: float
    ) -> tuple[bytearray, int | None]:
        """Return what the process says, and its exit status. Raises `NotReadError`."""
        async with self._taking_turn(turn_within_s):
            try:
                with trio.fail_after(self._deadline_s):
                    return await self._read([str(path), *more], added)
            except trio.TooSlowError:
                raise NotReadError(
                    f"{path}: reading it took longer than {self._deadline_s:g} s, and was stopped"
                ) from None
            except OSError as error:
                raise NotReadError(
                    f"no process could be started to read the configuration: {error.strerror}"
                ) from error

    @asynccontextmanager
    async def _taking_turn(self, within_s: float) -> AsyncIterator[None]:
        with trio.move_on_after(within_s) as waiting:
            await self._turn.acquire()
        if waiting.cancelled_caught:
            raise NotReadError(
                "relayd is reading the configuration for a reload, or for another command (check"
                f" --diff, add, remove), which takes more than {within_s:g} s: try again; it is stopped after"
                f" {self._deadline_s:g} s"
            )
        try:
            yield
        finally:
            self._turn.release()

    async def _read(
        self, arguments: Sequence[str], added: Added | None
    ) -> tuple[bytearray, int | None]:
        raw = bytearray()
        async with self._started(arguments, added) as (process, answer):
            while chunk := await answer.receive_some(_AT_ONCE):
                raw += chunk
                if len(raw) > MOST_BYTES:
                    most = f"{MOST_BYTES // 2**20} MiB"
                    raise NotReadError(
                        f"{arguments[0]}: larger than {most}, with all aliases followed"
                    )
        return raw, process.returncode

    @asynccontextmanager
    async def _started(
        self, given: Sequence[str], added: Added | None
    ) -> AsyncIterator[tuple["subprocess.Popen[bytes]", trio.lowlevel.FdStream]]:
        """Start the process; when the block is left it is killed, where it still runs, and reaped."""
        ours, theirs = os.pipe()
        async with trio.lowlevel.FdStream(ours) as answer:
            passed = [theirs]
            arguments: list[str | int] = [os.getpid(), theirs, *given]
            try:
                if added is not None:
                    passed.append(_in_memory(added.raw))
                    arguments += [added.name, passed[-1], str(added.replaces or "")]
                process = self._running = start_child(
                    self._module,
                    arguments,
                    environ={k: v for k, v in os.environ.items() if k not in _NOT_PASSED},
                    pass_fds=passed,
                )
            finally:
                for each in passed:
                    os.close(each)
            try:
                yield process, answer
                await _ended(process)
            finally:
                process.kill()  # nothing where it was reaped
                with trio.CancelScope(shield=True):
                    await _ended(process)
                self._running = None


def _ended_early(status: int | None) -> NotReadError:
    how = how_it_ended(status)
    if status == EXIT_CHANGED:
        return NotReadError(how)
    return NotReadError(f"the process that read the configuration ended: {how}")


def _in_memory(raw: bytes) -> int:
    """Return a descriptor of a file that holds this text, and has no name. Raises `OSError`."""
    descriptor = os.memfd_create("relayd-added", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(raw)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


async def _ended(process: "subprocess.Popen[bytes]") -> None:
    """Wait for the end of a process that has closed its descriptor, or was killed."""
    with trio.move_on_after(_END_S):
        while process.poll() is None:  # noqa: ASYNC110 - a process sets no event
            await trio.sleep(0.005)
