"""The process under torture, in a process group of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

GRACE_S = 9.0
"""A process that takes longer to end after SIGTERM may have cut off attempts."""


class Relay:
    """The process under test, in a process group of its own."""

    def __init__(self, config: Path, log: Path, program: list[str], env: Mapping[str, str]) -> None:
        self._config = config
        self._log = log
        self._program = program
        self._env = env
        self._process: subprocess.Popen[bytes] | None = None
        self.interruptions: list[float] = []
        """When it was killed, or ended without finishing its attempts, in monotonic seconds."""
        self.peak_memory = 0
        self.open_files = 0

    def start(self, under: Sequence[str] = ()) -> None:
        tests = Path(__file__).parents[1]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [*under, sys.executable, *self._program, "run", "--config", str(self._config)],
                cwd=self._config.parent,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env={**os.environ, **self._env, "PYTHONPATH": f"{tests}:{tests.parent}"},
            )

    @property
    def status(self) -> int | None:
        """Its exit status, or None while it runs."""
        assert self._process is not None
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            os.killpg(self._process.pid, signal.SIGKILL)
        if self._process.wait() != 0:
            self.interruptions.append(time.monotonic())

    def terminate(self) -> int:
        assert self._process is not None
        began = time.monotonic()
        self._process.terminate()
        status = self._process.wait(timeout=20)
        if status != 0 or time.monotonic() - began > GRACE_S:
            self.interruptions.append(time.monotonic())
        return status

    def wait(self, timeout_s: float) -> int | None:
        """Return its exit status, or None when it has not ended by itself by then."""
        assert self._process is not None
        try:
            status = self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None
        self.interruptions.append(time.monotonic())
        return status

    def sample(self) -> None:
        """Note how much memory and how many files it has now."""
        process = self._process
        if process is None:
            return
        try:
            status = Path(f"/proc/{process.pid}/status").read_text()
            files = len(list(Path(f"/proc/{process.pid}/fd").iterdir()))
        except OSError:
            return
        for line in status.splitlines():
            if line.startswith("VmRSS"):
                self.peak_memory = max(self.peak_memory, int(line.split()[1]) * 1024)
        self.open_files = max(self.open_files, files)
