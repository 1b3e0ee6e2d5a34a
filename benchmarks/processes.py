"""Programs under measurement: started in a session of their own, measured whole, always stopped.

CPU time and memory are read from /proc, for all processes of the session together.
"""

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from benchmarks.errors import RefusedError

_TICK_S = 1 / os.sysconf("SC_CLK_TCK")
OPEN_FILES: Final = 65_536


class Program:
    """A running program with all that it starts. Its output goes to `log`."""

    def __init__(
        self, arguments: Sequence[str], *, log: Path, env: Mapping[str, str] | None = None
    ) -> None:
        self.log = log
        self.name = Path(arguments[0]).name
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - arguments of our own
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(env or {})},
                start_new_session=True,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def running(self) -> bool:
        """Whether the program itself has not ended."""
        return self._process.poll() is None

    def cpu_s(self) -> float:
        """Return the CPU seconds of the session so far, in steps of the kernel's tick (10 ms)."""
        return sum(sum(map(int, stat[11:15])) for stat in self._stats().values()) * _TICK_S

    def busy_s(self) -> float:
        """Return the seconds that the session's living threads have run, to the nanosecond."""
        total = 0
        for pid in self._stats():
            for path in Path(f"/proc/{pid}/task").glob("*/schedstat"):
                total += int(path.read_text().split()[0])
        return total / 1e9

    def memory_mib(self) -> float:
        """Return the peak of resident memory of one process, or what several share and own now."""
        pids = list(self._stats())
        if len(pids) == 1:
            return _kib(f"/proc/{pids[0]}/status", "VmHWM") / 1024
        return sum(_kib(f"/proc/{pid}/smaps_rollup", "Pss") for pid in pids) / 1024

    def check(self) -> None:
        """Refuse to go on when the program has ended."""
        if not self.running:
            status = self._process.returncode
            raise RefusedError(f"{self.name} ended with status {status}: {self.last_lines()}")

    def last_lines(self) -> str:
        """Return the end of its output."""
        lines = self.log.read_bytes()[-4000:].decode(errors="replace").splitlines()
        return " / ".join(lines[-3:])

    def stop(self, timeout_s: float = 15.0) -> None:
        """End it by SIGTERM, and whatever of its session is left by SIGKILL."""
        if self.running:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout_s)
        self.kill()

    def kill(self) -> None:
        """End the whole session at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(10.0)

    def _stats(self) -> dict[int, list[str]]:
        """Return /proc's fields from the state on, of each process of the session."""
        found: dict[int, list[str]] = {}
        for entry in os.scandir("/proc"):
            if not entry.name.isdigit():
                continue
            try:
                stat = Path(entry.path, "stat").read_text()
            except OSError:
                continue
            fields = stat.rpartition(")")[2].split()
            if int(fields[3]) == self._process.pid and fields[0] != "Z":
                found[int(entry.name)] = fields
        return found


def run_whole(
    arguments: Sequence[str],
    *,
    timeout_s: float,
    text: str = "",
    env: Mapping[str, str] | None = None,
) -> str:
    """Run a program to its end, and return what it printed. Refuses to go on when it failed."""
    done = subprocess.run(  # noqa: S603 - arguments of our own
        arguments,
        input=text,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        env={**os.environ, **(env or {})},
    )
    if done.returncode != 0:
        raise RefusedError(f"{arguments[0]} failed: {(done.stdout + done.stderr)[-800:]}")
    return done.stdout


def raise_open_files() -> None:
    """Let this process, and those that it starts, open enough connections."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, OPEN_FILES), hard))


def _kib(path: str, key: str) -> int:
    try:
        lines = Path(path).read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(f"{key}:")), 0)
