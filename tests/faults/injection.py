"""How faults are put into a running relayd: strace, small disks, a false clock, few resources.

Each way says in a skip's reason what it lacks where it cannot be used. `under=` of `processes`
takes what `traced` and `limited` return; both keep the process number of relayd itself.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1")


def _lacks_strace() -> str:
    if shutil.which("strace") is None:
        return "strace is missing (apt install strace)"
    # Containers may forbid ptrace.
    probe = subprocess.run(
        ["strace", "-f", "-o", os.devnull, "true"], capture_output=True, check=False
    )
    return "" if probe.returncode == 0 else "strace may not trace here"


needs_strace = pytest.mark.skipif(bool(_lacks_strace()), reason=_lacks_strace())
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a file system")
needs_faketime = pytest.mark.skipif(
    not _FAKETIME.exists(), reason=f"{_FAKETIME} is missing (apt install faketime)"
)
needs_prlimit = pytest.mark.skipif(
    shutil.which("prlimit") is None, reason="prlimit is missing (apt install util-linux)"
)
long_form = pytest.mark.skipif(
    not os.environ.get("RELAYD_TORTURE"), reason="takes long: `make torture` runs it"
)


def traced(output: Path, *options: str, calls: Sequence[str]) -> list[str]:
    """Return the command that records these system calls, with the files that they are about.

    strace runs beside relayd (-D), so that signals and the exit status are relayd's own.
    """
    chosen = ",".join(calls)
    quiet = ["-D", "-f", "--seccomp-bpf", "-y", "-s", "4096", "-o", str(output)]
    return ["strace", *quiet, "-e", f"trace={chosen}", "-e", "signal=none", *options]


def killed_at(call: str, count: int) -> list[str]:
    """Return the command under which relayd gets SIGKILL as one thread begins its `count`th call."""
    # With --seccomp-bpf, strace 6.1 injects no signal beyond the first call.
    return ["strace", "-D", "-f", "-o", os.devnull, "-e", "signal=none",
            "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={count}"]  # fmt: skip


def failing_at(call: str, error: str, when: str) -> list[str]:
    """Return the command under which a thread's calls fail with `error` from `when` on (as `3+`)."""
    return ["strace", "-D", "-f", "--seccomp-bpf", "-o", os.devnull, "-e", "signal=none",
            "-e", f"trace={call}", "-e", f"inject={call}:error={error}:when={when}"]  # fmt: skip


def limited(**limits: int) -> list[str]:
    """Return the command that sets resource limits, such as `nofile=40`."""
    return ["prlimit", *(f"--{name}={value}" for name, value in limits.items())]


@contextmanager
def small_disk(path: Path, size: str) -> Iterator[Path]:
    """Mount a tmpfs of this size, such as `8m`, at `path`."""
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=True)


def fill(folder: Path, leave: int = 0) -> Path:
    """Fill a file system but for `leave` bytes, and return the file that does it."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        free = os.statvfs(folder)
        size = free.f_bavail * free.f_frsize - leave
        if size > 0:
            os.posix_fallocate(file.fileno(), 0, size)
        if not leave:
            # What is left below one block.
            try:
                while file.write(b"\0" * 4096):
                    pass
            except OSError:
                pass
    return filler


@dataclass(slots=True)
class FalseClock:
    """A wall clock that a test sets while relayd runs; the monotonic clock stays true."""

    file: Path

    def set(self, offset_s: float) -> None:
        """Let relayd's wall clock be off by so much from now on."""
        new = self.file.with_suffix(".new")
        new.write_text(f"{offset_s:+.1f}\n")
        new.rename(self.file)

    @property
    def env(self) -> dict[str, str]:
        """The environment for relayd."""
        return {
            "LD_PRELOAD": str(_FAKETIME),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        }


def false_clock(folder: Path, offset_s: float = 0.0) -> FalseClock:
    """Return a clock that is off by `offset_s`."""
    clock = FalseClock(folder / "faketime")
    clock.set(offset_s)
    return clock
