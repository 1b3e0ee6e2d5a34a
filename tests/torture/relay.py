"""The process under torture, in a process group of its own."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

HELPERS_END_S = 5.0

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
        self.left_behind = 0
        """How often helpers were left when it had ended."""
        self.peak_memory = 0
        self.peak_helper = 0
        self.peak_loader = 0
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
            self._process.kill()
        if self._process.wait() != 0:
            self.interruptions.append(time.monotonic())
        self._let_helpers_end()

    def terminate(self) -> int:
        assert self._process is not None
        began = time.monotonic()
        self._process.terminate()
        status = self._process.wait(timeout=20)
        self._let_helpers_end()
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

    def helpers(self) -> list[int]:
        """Return the numbers of the processes that it started: they read its spools and its configuration."""
        assert self._process is not None
        session = self._process.pid
        found = []
        for folder in Path("/proc").iterdir():
            if folder.name.isdigit() and folder.name != str(session):
                try:
                    name, _, rest = (folder / "stat").read_text().rpartition(") ")
                except OSError:
                    continue
                # Its session is the fourth field after the name; strace belongs to the harness.
                if int(rest.split()[3]) == session and not name.endswith("(strace"):
                    found.append(int(folder.name))
        return found

    def kill_helper(self, amount: float) -> bool:
        """Kill one of its helpers; False where it has none."""
        found = sorted(self.helpers())
        if not found:
            return False
        with suppress(ProcessLookupError):
            os.kill(found[int(amount * len(found))], signal.SIGKILL)
        return True

    def _let_helpers_end(self) -> None:
        deadline = time.monotonic() + HELPERS_END_S
        while found := self.helpers():
            if time.monotonic() > deadline:
                self.left_behind += 1
                for pid in found:
                    with suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                return
            time.sleep(0.01)

    def sample_helpers(self) -> None:
        """Note how much memory its helpers have now, each for itself."""
        assert self._process is not None
        for pid in self.helpers():
            try:
                command = Path(f"/proc/{pid}/cmdline").read_bytes()
                if command == Path(f"/proc/{self._process.pid}/cmdline").read_bytes():
                    continue  # forked, and not executed yet: what it has is the daemon's
                rollup = Path(f"/proc/{pid}/smaps_rollup").read_text()
            except OSError:
                continue
            for line in rollup.splitlines():
                if line.startswith("Pss:"):
                    memory = int(line.split()[1]) * 1024
                    if b"config_process" in command:
                        self.peak_loader = max(self.peak_loader, memory)
                    else:
                        self.peak_helper = max(self.peak_helper, memory)

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
